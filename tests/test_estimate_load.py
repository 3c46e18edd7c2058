"""Laws under load: what many users get, in every kind of arrival, alone and in array passes."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from laws import (
    LATENT,
    LLAMA,
    LOCALS,
    MIXTURE,
    SERVERS,
    SLACK,
    SMALL,
    arrivals,
    ask,
    cards,
    engines,
    model_names,
    near,
    num,
    outputs,
    prompts,
    servers,
    users,
)

from core.batch import candidates
from core.catalog import models
from core.estimate import estimate, numbers
from core.plan import legal_tp


@given(model_names, cards, engines, prompts, outputs, users, arrivals)
@settings(max_examples=60, deadline=None)
def test_metrics_agree_with_each_other(
    model: str, card: str, engine: tuple[str, str], prompt: int, output: int, n: int, arrival: str
) -> None:
    load = {"prompt_tokens": prompt, "output_tokens": output, "concurrency": n, "arrival": arrival}
    found = numbers(ask(model, card, engine, **load))
    assert near(found["decode_rate"], 1 / found["tpot"])
    assert near(found["latency"], found["ttft"] + found["tpot"] * (output - 1))
    assert near(found["total_rate"], found["output_rate"] * (prompt + output) / output)
    assert near(found["energy_per_token"], found["power"] / found["output_rate"])
    assert 1 <= found["batch"] <= max(n, 1) * (1 + SLACK) or arrival == "saturated"


@given(model_names, cards, engines, prompts, outputs, users, st.sampled_from(("closed", "static", "saturated", "open")))
@example(LLAMA, "RTX 4090", ("llama.cpp", "Q4_K_M"), 1, 2, 5, "saturated")  # slots follow the users asked, not those in flight
@example(LLAMA, "RTX 4090", ("transformers", "BF16"), 512, 128, 17, "open")  # those in flight hold the memory
@settings(max_examples=50, deadline=None)
def test_the_cited_answer_is_the_plain_one(
    model: str, card: str, engine: tuple[str, str], prompt: int, output: int, n: int, arrival: str
) -> None:
    asked = ask(model, card, engine, prompt_tokens=prompt, output_tokens=output, concurrency=n, arrival=arrival,
                request_rate_per_s=0.5)  # fmt: skip
    answer, found = estimate(asked), numbers(asked)
    assert found.keys() == answer.metrics.keys()
    for name, amount in found.items():
        assert near(answer.metric(name), amount), name


depths, degrees = st.sampled_from((0, 100, 5000)), st.sampled_from((1, 2, 4))
candidate = st.tuples(st.integers(0, 5), users, prompts, outputs, depths, degrees)


@given(model_names, st.sampled_from((LOCALS, (*SERVERS, ("vllm", "FP8")))), arrivals, st.lists(candidate, min_size=2))
@settings(max_examples=40, deadline=None)
def test_many_candidates_are_each_as_one(model: str, kinds: tuple[tuple[str, str], ...], arrival: str, rows: list[tuple[int, ...]]) -> None:
    options = [
        ask(model, card, kind, count=4, tp=1, pp=1, arrival=arrival)
        for kind in kinds
        for card in ("H100 SXM5 80GB", "RTX 3090")
        if not (kind[1] == "FP8" and card == "RTX 3090")
    ]
    if kinds is LOCALS:
        options = [o.with_(gpu_layers=999) for o in options]
    index = np.array([row[0] % len(options) for row in rows])
    names = ("users", "prompt", "output", "depth", "tp")
    table = {name: np.array([row[i + 1] for row in rows], dtype=float) for i, name in enumerate(names)}
    if not all(legal_tp(models.ir(model), int(t)) for t in set(table["tp"])) or kinds is LOCALS:
        table["tp"] = np.ones(len(rows))
    found = candidates(options, index, table)
    for i, row in enumerate(rows):
        load = dict(zip(("concurrency", "prompt_tokens", "output_tokens", "context_depth"), row[1:5], strict=True))
        one = numbers(options[index[i]].with_(**load, tp=int(table["tp"][i])))
        for name, amount in one.items():
            assert near(float(found[name][i]), amount, 1e-6), (i, name)


@given(model_names, cards, servers, prompts, outputs)
@example(SMALL, "Tesla T4", ("vllm", "BF16"), 3923, 105)
@example(SMALL, "RTX 4090", ("vllm", "BF16"), 3293, 47)
@example(LATENT, "H100 SXM5 80GB", ("vllm", "BF16"), 8, 89)
@settings(max_examples=40, deadline=None)
def test_more_users_give_more_tokens_and_wait_longer(model: str, card: str, engine: tuple[str, str], prompt: int, output: int) -> None:
    """Up to what memory and the runtime serve at once: the system's rate never falls, no user's gets better.

    The closed form holds means to a few per cent; a prompt or an answer of a few tokens is no load it is made for.
    """
    assume(prompt >= 64 and output >= 16)
    asked = ask(model, card, engine, prompt_tokens=prompt, output_tokens=output)
    answer = estimate(asked)
    assume(answer.runs)
    cap = min(num(answer.limits["max_batch"]), answer.resolved["max_sequences"] or 256)
    steps = [n for n in (1, 2, 4, 8, 16, 32, 64, 128, 256) if n <= cap]
    found = [numbers(asked.with_(concurrency=n)) for n in steps]
    mixture = any(block.mlp.kind == "moe" for block in answer.ir.blocks)
    for few, many in itertools.pairwise(found):
        assert many["output_rate"] >= few["output_rate"] * (1 - 0.05)
        # Prompts that share a step read the experts once for all, so a mixture's first token may come sooner in company.
        assert many["ttft"] >= few["ttft"] * (1 - (0.3 if mixture else 0.05))
        assert many["tpot"] >= few["tpot"] * (1 - 0.05)
        assert many["latency"] >= few["latency"] * (1 - 0.05)


@given(model_names, cards, servers, prompts, outputs, users)
@example(MIXTURE, "H100 SXM5 80GB", ("vllm", "BF16"), 6, 167, 256)
@settings(max_examples=40, deadline=None)
def test_a_closed_loop_stays_below_what_saturates(model: str, card: str, engine: tuple[str, str], prompt: int, output: int, n: int) -> None:
    assume(prompt >= 64 and output >= 16)
    asked = ask(model, card, engine, prompt_tokens=prompt, output_tokens=output, concurrency=n)
    assume(estimate(asked).runs)
    closed, full = numbers(asked), numbers(asked.with_(arrival="saturated"))
    assert closed["output_rate"] <= full["output_rate"] * 1.05
    assert closed["output_rate"] <= n * closed["decode_rate"] * output / (output - 1) * (1 + SLACK)


@given(model_names, st.floats(0.01, 100.0), st.floats(1.0, 20.0))
@settings(max_examples=30, deadline=None)
def test_an_open_loop_delivers_what_arrives_or_its_capacity(model: str, rate: float, factor: float) -> None:
    asked = ask(model, arrival="open", request_rate_per_s=rate)
    slow, fast = numbers(asked), numbers(asked.with_(request_rate_per_s=rate * factor))
    assert slow["output_rate"] <= rate * 128 * (1 + SLACK)
    assert fast["output_rate"] >= slow["output_rate"] * (1 - 0.02)
    assert fast["ttft"] >= slow["ttft"] * (1 - 0.02)
    assert near(slow["output_rate"], rate * 128) or math.isinf(slow["ttft"])
