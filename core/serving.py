"""Under load: from the time of steps to TTFT, TPOT, latency and throughput, in closed form for means.

The batch that decodes together follows from the load itself, so it is solved by a fixed number of damped iterations on plain
numbers (arrays in a pass over candidates); the answer is then computed once more from it, with citations where wanted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.answer import Step
from core.formulas.collectives import pipeline_time
from core.formulas.correction import corrected_mixed_time, corrected_time
from core.formulas.queueing import (
    added_time,
    admission_wait,
    answer_life,
    away_time,
    batch_rate,
    burst_wait,
    chunk_count,
    closed_rate,
    closed_wait,
    first_token_time,
    in_step_wait,
    moved_wait,
    open_wait,
    prefill_residence,
    prompt_rate,
    prompts_a_step,
    prompts_in_step,
    request_latency,
    shared_service,
    step_in_progress,
    time_per_token,
    token_rate,
    undisturbed_time,
    utilisation,
    waited,
)
from core.machine import Columns
from core.memory import Fit, context_while_decoding
from core.phases import Work
from core.picked import like, pick, plain, solved
from core.plan import Plan
from core.quantity import total, value
from core.scenario import Arrival
from core.steps import step_time

ITERATIONS = 13  # a bracket of 2,000 closes to 0.1 %


@dataclass(slots=True)
class Served:
    """What users see (s, tok/s) and the steps it rests on."""

    decode: Step
    prefill: Step  # a prompt's step on an idle machine
    ttft: Any
    tpot: Any
    latency: Any
    prefill_rate: Any
    decode_rate: Any
    output_rate: Any
    total_rate: Any
    batch: Any  # sequences decoding together, per data-parallel rank
    wait: Any  # for admission and for other prompts
    own: Any  # the prompt's own service time
    residual: Any  # relative change of the batch in the last iteration
    load: Any  # share of the capacity that an open loop asks for; NaN otherwise


@dataclass(slots=True)
class _Load:
    new: Any
    start: Any
    context: Any
    users: Any  # per data-parallel rank
    cap: Any
    seats: Any  # min(users, cap)
    rate: Any


def _load(c: Columns, fit: Fit, arrival: Arrival) -> _Load:
    new = np.maximum(value(c.prompt) - value(c.cached), 1)
    users = np.maximum(value(c.users) / value(c.dp), 1.0)
    slots = np.where(np.isnan(value(fit.slots)), np.inf, value(fit.slots))
    cap = np.maximum(np.minimum(slots, value(fit.batch_cap)), 1.0)
    if arrival == "closed":  # whoever measured it set the engine up so that it held the users
        cap = np.where(np.asarray(c.ran) > 0, np.maximum(cap, np.minimum(users, slots)), cap)
    cap = np.where(np.asarray(c.pooled) > 0, cap, np.maximum(np.where(np.isnan(fit.slots), users, fit.slots), 1.0))
    if arrival == "saturated":
        users = np.minimum(np.maximum(users, 1e5), cap)
    cap = plain(cap)
    return _Load(plain(new), value(c.depth) + value(c.cached), value(context_while_decoding(c)), plain(users), cap,
                 plain(np.minimum(users, cap)), value(c.rate) / value(c.dp))  # fmt: skip


def _room(c: Columns, batch: Any) -> Any:
    """Prompt tokens a step can carry beside the decoding batch."""
    budget = np.where(np.isnan(value(c.token_budget)), 2048.0, value(c.token_budget))
    room = np.where(np.asarray(c.micro_batches) > 0, np.minimum(value(c.micro_batch), budget), np.maximum(budget - batch, budget / 4))
    # Engines without chunked prefill take a whole prompt in one step, whatever the budget says.
    return plain(np.where((np.asarray(c.chunked) > 0) | (np.asarray(c.micro_batches) > 0), room, np.maximum(room, value(c.prompt))))


@dataclass(slots=True)
class _Steps:
    """The steps of a batch: pure decoding, and decoding beside chunks of prompts."""

    decode: Step
    mixed: Step
    chunks: Any  # steps of one prompt
    packed: Any  # prompts that a step can carry
    prompts: Any  # prompts whose chunks a mixed step carries under this load


def _steps(plan: Plan, c: Columns, fit: Fit, load: _Load, batch: Any) -> _Steps:
    """A decode step of `batch` sequences of a rank, and a step that also carries prompts as fast as the batch consumes them."""
    in_flight = np.where(np.asarray(c.pipelined) > 0, value(c.pp), 1.0)
    together = solved("sequences in a step", plain(np.maximum(value(batch) / in_flight, 1.0)), "", "batch ÷ micro-batches in flight", c.tp)
    context = context_while_decoding(c)
    flights: Any = 1.0
    if c.cards:
        turns = plain(np.minimum(in_flight, np.maximum(value(batch), 1.0)))
        flights = solved("micro-batches that take turns", turns, "", "as many as there are stages and sequences", c.tp)
    decode = step_time(plan, c, fit, Work(batch=together, context=context, flights=flights), "decode step")
    new = solved("new prompt tokens", load.new, "tok", "prompt less the cached prefix", c.tp, c.prompt, c.cached)
    room = solved("prompt tokens a step can carry", _room(c, value(together)), "tok", "token budget less the decoding batch", c.tp)
    chunks = chunk_count(tokens=new, budget=room, named="steps of a prompt")
    seats = solved("users served at once", load.seats, "", "users, up to the limit", c.tp, c.users)
    packed = prompts_in_step(room=room, tokens=new, users=seats, named="prompts that fit a step")
    prompts = prompts_a_step(batch=together, output=c.output, packed=packed, named="prompts in a mixed step")
    start = solved("tokens before the prompt", load.start, "tok", "cached before + cached prefix", c.tp, c.depth, c.cached)
    carries = np.asarray(c.chunked) > 0
    beside = solved(
        "sequences decoding beside", plain(np.where(carries, value(together), 0.0)), "", "none where prompts stop decoding", c.tp
    )
    chunk = solved("prompt tokens in a step", value(new) * value(prompts) / value(chunks), "tok", "prompts × new tokens ÷ steps", c.tp)
    mixed = step_time(
        plan,
        c,
        fit,
        Work(
            chunk=chunk,
            start=start,
            prompt=new,
            chunks=chunks,
            prompts=prompts,
            batch=beside,
            context=context,
            flights=pick(c.chunked, flights, 1.0),
        ),
        "mixed step",
    )
    if c.decode_factor is None:
        return _Steps(decode, mixed, chunks, packed, prompts)
    decoding = pick(c.chunked, decode.time, like(0.0, c.step_overhead, "decoding stops"))
    mixed_time = corrected_mixed_time(mixed=mixed.time, decode=decoding, decode_factor=c.decode_factor,
                                      prefill_factor=c.prefill_factor, named="mixed step")  # fmt: skip
    return _Steps(_corrected(decode, c.decode_factor), replace(mixed, time=mixed_time), chunks, packed, prompts)


def _corrected(step: Step, factor: Any) -> Step:
    """The step with its time times the fitted factor; its operations stay as the physics has them."""
    return replace(step, time=corrected_time(time=step.time, learned_factor=factor, named=step.name)) if factor is not None else step


def _extra(c: Columns, steps: _Steps) -> Any:
    """What one prompt's part of a step adds to decoding: the difference, or all of the step where decoding stops meanwhile."""
    decode = pick(c.chunked, steps.decode.time, like(0.0, c.step_overhead, "decoding stops"))
    return added_time(mixed=steps.mixed.time, decode=decode, prompts=steps.prompts, named="time a prompt's part adds")


def _alone(plan: Plan, c: Columns, fit: Fit, load: _Load, sequences: Any) -> tuple[Step, Any]:
    """Prefill of `sequences` prompts together on an idle machine: its step and the whole time."""
    room = _room(c, 0.0)
    tokens = solved("prompt tokens together", load.new * value(sequences), "tok", "prompts × new tokens", c.tp)
    chunks = chunk_count(tokens=tokens, budget=solved("token budget", room, "tok", "of a step", c.tp), named="steps of the prompts")
    chunk = solved("prompt tokens in a step", value(tokens) / value(chunks), "tok", "prompts ÷ steps", c.tp)
    start = solved("tokens before the prompt", load.start, "tok", "cached before + cached prefix", c.tp, c.depth, c.cached)
    new = solved("new prompt tokens", load.new, "tok", "prompt less the cached prefix", c.tp, c.prompt, c.cached)
    step = step_time(plan, c, fit, Work(chunk=chunk, start=start, prompt=new, chunks=chunks, prompts=value(sequences)), "prefill step")
    step = _corrected(step, c.prefill_factor)
    return step, pipeline_time(step=step.time, chunks=chunks, stages=_stages(c, step), named="prefill")


def _stages(c: Columns, step: Step) -> Any:
    """Pipeline stages that steps follow each other through: those there are, or of unlike ones what the slowest leaves of them."""
    return c.pp if step.stages is None else step.stages


def solve_batch(plan: Plan, c: Columns, fit: Fit, load: _Load, arrival: Arrival) -> tuple[Any, Any]:
    """The batch that decodes together under the load (plain numbers), and how far the bracket around it is open, relatively.

    The batch that a batch's own steps lead to grows more slowly than the batch, so the crossing is bisected, on a log scale.
    """
    output = value(c.output)
    if arrival == "static" or (arrival != "open" and not np.any(np.asarray(load.seats) > 1)):
        return load.seats, 0.0 * load.seats
    highest = load.cap if arrival == "open" else load.seats
    low, high = np.zeros_like(np.asarray(highest, dtype=float)), np.log(highest)
    for _ in range(ITERATIONS):
        middle = (low + high) / 2
        batch = plain(np.exp(middle))
        steps = _steps(plan, c, fit, load, batch)
        decode, mixed, chunks = steps.decode, steps.mixed, steps.chunks
        extra, stages = _extra(c, steps), value(_stages(c, mixed))
        tpot = time_per_token(decode=decode.time, batch=batch, output=output, chunks=chunks, extra=extra, stages=stages)
        life = answer_life(per_token=tpot, output=output)
        if arrival == "open":
            found = load.rate * (life + tpot)
        else:
            own = pipeline_time(step=mixed.time, chunks=chunks, stages=stages)
            service = _service(c, steps, extra)
            begun = step_in_progress(step=decode.time, ahead=c.steps_ahead, held=c.held_steps)
            away = away_time(life=life, fixed=c.request_overhead, begun=begun)
            residence = prefill_residence(own=own, service=service, users=load.seats, life=away)
            found = load.seats * life / (residence + away)
        above = found > batch
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    # Where even the fullest batch leads to more, it is the answer: the bracket closed in on its upper end.
    batch = np.where(high >= np.log(highest) - 1e-12, highest, np.exp((low + high) / 2))
    return plain(batch), np.exp(high - low) - 1


def _service(c: Columns, steps: _Steps, extra: Any) -> Any:
    """What each waiting prompt costs the ones behind it."""
    return shared_service(
        decode=steps.decode.time, extra=extra, packed=steps.packed, chunks=steps.chunks, stages=_stages(c, steps.mixed),
        named="a prompt's share of steps",
    )  # fmt: skip


def serve(plan: Plan, c: Columns, fit: Fit, arrival: Arrival, batch: Any, residual: Any) -> Served:
    """Everything users see, from the batch that `solve_batch` found. Cited where `c` is."""
    load = _load(c, fit, arrival)
    output = c.output
    prefill, alone_time = _alone(plan, c, fit, load, load.seats if arrival == "static" else 1.0)
    batch_q = solved("sequences decoding together", batch, "", f"fixed point of the load, residual {np.max(residual):.1e}", c.tp, c.users)
    nothing = like(0.0, c.step_overhead, "no waiting")
    asked: Any = np.nan
    if arrival == "static":
        decode = _steps(plan, c, fit, load, batch_q).decode
        own, waiting = alone_time, nothing
        tpot = decode.time
        ttft = first_token_time(wait=waiting, prefill=own, fixed=nothing, named="TTFT")
    else:
        steps = _steps(plan, c, fit, load, batch_q)
        decode, mixed, chunks = steps.decode, steps.mixed, steps.chunks
        extra, stages = _extra(c, steps), _stages(c, mixed)
        single = np.asarray(load.seats) <= 1
        tpot_shared = time_per_token(
            decode=decode.time, batch=batch_q, output=output, chunks=chunks, extra=extra, stages=stages, named="TPOT"
        )
        alone = plain((single & (arrival != "open")).astype(float)) if arrival != "open" else 0.0
        tpot = pick(alone, decode.time, tpot_shared)
        own = pick(alone, alone_time, pipeline_time(step=mixed.time, chunks=chunks, stages=stages, named="prefill in shared steps"))
        if arrival == "open":
            fullest = _steps(plan, c, fit, load, load.cap)
            full, busy, full_chunks = fullest.decode, fullest.mixed, fullest.chunks
            full_extra, stages = _extra(c, fullest), _stages(c, busy)
            full_tpot = time_per_token(decode=full.time, batch=load.cap, output=output, chunks=full_chunks, extra=full_extra, stages=stages)
            capacity = closed_rate(
                users=solved("sequences at the limit", load.cap, "", "memory or the runtime's limit", c.tp),
                residence=pipeline_time(step=busy.time, chunks=full_chunks, stages=stages),
                away=answer_life(per_token=full_tpot, output=output),
                named="capacity",
            )
            rate = solved("requests a second and rank", load.rate, "1/s", "request rate ÷ data parallel", c.tp, c.rate)
            asked = utilisation(rate=rate, capacity=capacity)
            busy_share = np.maximum(load.rate * value(own), np.where(value(asked) >= 1, value(asked), 0.0))
            prompt_load = solved("prefill utilisation", busy_share, "", "request rate × prefill, full when the capacity is", c.tp)
            waiting = open_wait(service=own, utilisation=prompt_load, named="waiting")
        else:
            service = _service(c, steps, extra)
            steps_before = step_in_progress(step=decode.time, ahead=c.steps_ahead, held=c.held_steps, named="steps begun before")
            begun = pick(alone, nothing, steps_before)
            away = away_time(life=answer_life(per_token=tpot, output=output, named="time of an answer"), fixed=c.request_overhead,
                             begun=begun, named="cycle beside the prefill queue")  # fmt: skip
            seats = solved("users served at once", load.seats, "", "users, up to the limit", c.tp, c.users)
            residence = prefill_residence(own=own, service=service, users=seats, life=away, named="prefill with its queue")
            rate = closed_rate(users=seats, residence=residence, away=away, named="requests a second")
            admission = admission_wait(users=solved("users of a rank", load.users, "", "users ÷ data parallel", c.tp, c.users),
                                       batch=seats, rate=rate, named="wait for a place")  # fmt: skip
            queued = waited(residence=residence, service=own, named="wait for other prompts")
            in_step = in_step_wait(service=service, users=seats, equal=c.equal, first=like(c.prompts_first, service, "prompts first"),
                                   named="wait for users in step")  # fmt: skip
            burst = burst_wait(service=service, users=seats, named="wait in a burst of all users")
            closed = closed_wait(queued=queued, in_step=in_step, burst=burst, share=c.burst, named="wait for prompts in a closed loop")
            moved = moved_wait(waited=closed, queued=queued, per_token=tpot, decode=decode.time, output=output,
                               named="wait in place of slower answers")  # fmt: skip
            tpot = undisturbed_time(per_token=tpot, moved=moved, output=output, named="TPOT")
            waiting = total([admission, queued, moved, begun], "waiting")
        ttft = first_token_time(wait=waiting, prefill=own, fixed=c.request_overhead, named="TTFT")
    if c.ttft_factor is not None:
        ttft = corrected_time(time=ttft, learned_factor=c.ttft_factor, named="TTFT")
    latency = request_latency(first_token=ttft, per_token=tpot, output=output, named="latency")
    everyone = _like_count(c, load, arrival)
    if arrival == "static":
        waves = np.ceil(load.users / load.seats)
        together = solved("sequences at once", load.users * value(c.dp) / waves, "", "in waves that fit", c.tp)
    else:
        together = everyone
    if arrival == "open":
        arriving = np.minimum(value(c.rate), value(c.rate) / np.maximum(value(asked), 1e-12))
        output_rate = solved(
            "output tokens a second", arriving * value(output), "tok/s", "request rate × output tokens, up to the capacity", c.tp
        )
        total_rate = solved(
            "tokens a second with prompts", arriving * (value(output) + value(c.prompt)), "tok/s", "request rate × tokens", c.tp
        )
    else:
        output_rate = batch_rate(sequences=together, tokens=output, latency=latency, named="output tokens a second")
        both = solved("tokens of a request", value(c.output) + value(c.prompt), "tok", "prompt + output", c.tp)
        total_rate = batch_rate(sequences=together, tokens=both, latency=latency, named="tokens a second with prompts")
    new = solved(
        "prompt tokens processed", load.new * (load.seats if arrival == "static" else 1.0), "tok", "new tokens of the prompts", c.tp
    )
    return Served(
        decode=decode, prefill=prefill, ttft=ttft, tpot=tpot, latency=latency,
        prefill_rate=prompt_rate(tokens=new, time=alone_time, named="prefill rate"),
        decode_rate=token_rate(per_token=tpot, named="decode rate"),
        output_rate=output_rate, total_rate=total_rate, batch=batch_q, wait=waiting, own=own, residual=residual, load=asked,
    )  # fmt: skip


def _like_count(c: Columns, load: _Load, arrival: Arrival) -> Any:
    if arrival == "saturated":
        return solved("sequences at once", load.users * value(c.dp), "", "as many as fit", c.tp)
    return solved("users", np.maximum(value(c.users), 1.0), "", "all that ask", c.tp, c.users)
