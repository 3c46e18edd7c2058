"""Under load: from the times of a step to what users see. Closed forms, for means."""

from __future__ import annotations

import numpy as np

from core.quantity import formula
from core.units import Count, Rate, Seconds, TokenRate, Tokens


@formula("definition")
def chunk_count(*, tokens: Tokens, budget: Tokens) -> Count:
    """Steps into which a prompt is cut by the token budget."""
    return np.ceil(tokens / np.maximum(budget, 1))


@formula("definition")
def time_per_token(*, decode: Seconds, batch: Count, output: Tokens, chunks: Count, extra: Seconds, stages: Count) -> Seconds:
    """TPOT: a decode step, plus what the prompts of the others add to the steps while one answer is written."""
    return decode + batch / output * chunks * extra / stages


@formula("definition")
def added_time(*, mixed: Seconds, decode: Seconds) -> Seconds:
    """What carrying a chunk of a prompt adds to a decode step."""
    return np.maximum(mixed - decode, 0.0)


@formula("little1961", eq="L = λW")
def closed_rate(*, users: Count, first_token: Seconds, per_token: Seconds, output: Tokens) -> Rate:
    """Requests a second of a closed loop: every user asks again as soon as the answer is complete."""
    return users / (first_token + per_token * (output - 1))


@formula("reiser1980", eq="Schweitzer's approximation, deterministic service")
def prefill_residence(*, service: Seconds, users: Count, rate: Rate, residence: Seconds) -> Seconds:
    """Time in the prefill queue: own service, those found waiting, less half the service already done."""
    return service * (1 + (users - 1) / users * np.maximum(rate * residence - rate * service / 2, 0.0))


@formula("definition")
def bunched_wait(*, service: Seconds, users: Count, bunching: Count) -> Seconds:
    """Mean wait where the users of a closed loop ask in bunches: answers of like length end together, and prompts queue up."""
    return bunching * (users - 1) * service


@formula("definition")
def step_in_progress(*, step: Seconds) -> Seconds:
    """A request that arrives at any time waits for half of the step in progress."""
    return step / 2


@formula("definition")
def longer(*, a: Seconds, b: Seconds) -> Seconds:
    """The longer of two waits."""
    return np.maximum(a, b)


@formula("definition")
def admission_wait(*, users: Count, batch: Count, rate: Rate) -> Seconds:
    """Wait for a place in the batch when more ask than memory or the sequence limit admits."""
    return np.maximum(users - batch, 0.0) / rate


@formula("pollaczek1930", eq="M/D/1")
def open_wait(*, service: Seconds, utilisation: Count) -> Seconds:
    """Mean wait before a server with constant service time and random arrivals; endless at full utilisation."""
    return np.where(utilisation < 1, service * utilisation / (2 * np.maximum(1 - utilisation, 1e-9)), np.inf)


@formula("definition")
def first_token_time(*, wait: Seconds, prefill: Seconds, fixed: Seconds) -> Seconds:
    """TTFT: waiting, prefill in shared steps (its last step gives the first token), and the request's fixed cost."""
    return wait + prefill + fixed


@formula("definition")
def request_latency(*, first_token: Seconds, per_token: Seconds, output: Tokens) -> Seconds:
    """From asking to the last token."""
    return first_token + per_token * (output - 1)


@formula("definition")
def token_rate(*, per_token: Seconds) -> TokenRate:
    """Tokens a second of one sequence after its first token."""
    return 1 / per_token


@formula("definition")
def batch_rate(*, sequences: Count, tokens: Tokens, latency: Seconds) -> TokenRate:
    """Tokens a second of the whole system over a request's life."""
    return sequences * tokens / latency


@formula("definition")
def prompt_rate(*, tokens: Tokens, time: Seconds) -> TokenRate:
    """Prompt tokens processed a second."""
    return tokens / time


@formula("definition")
def utilisation(*, rate: Rate, capacity: Rate) -> Count:
    """Share of the capacity that the load asks for."""
    return rate / capacity


@formula("definition")
def waited(*, residence: Seconds, service: Seconds) -> Seconds:
    """Time in a queue that was not one's own service."""
    return np.maximum(residence - service, 0.0)
