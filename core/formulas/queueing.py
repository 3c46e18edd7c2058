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
def prompts_a_step(*, batch: Count, output: Tokens, packed: Count) -> Count:
    """Prompts whose parts a mixed step carries: as many as the batch uses up in a step, one at least, and what fits."""
    return np.maximum(np.minimum(batch / output, packed), 1.0)


@formula("definition")
def added_time(*, mixed: Seconds, decode: Seconds, prompts: Count) -> Seconds:
    """What carrying the part of one prompt adds to a decode step."""
    return np.maximum(mixed - decode, 0.0) / prompts


@formula("little1961", eq="L = λW")
def closed_rate(*, users: Count, residence: Seconds, away: Seconds) -> Rate:
    """Requests a second of a closed loop: every user asks again as soon as the answer is complete."""
    return users / (residence + away)


@formula("definition")
def shared_service(*, decode: Seconds, extra: Seconds, packed: Count, chunks: Count, stages: Count) -> Seconds:
    """What one prompt costs those behind it: short prompts share a step, and pipeline stages work on several at once."""
    return (decode / packed + extra) * chunks / stages


@formula("definition")
def prompts_in_step(*, room: Tokens, tokens: Tokens, users: Count) -> Count:
    """Prompts that a step can carry together, if so many ask."""
    return np.maximum(np.minimum(np.floor(room / tokens), users), 1.0)


@formula("reiser1980", eq="Schweitzer's approximation with deterministic service, solved for the residence")
def prefill_residence(*, own: Seconds, service: Seconds, users: Count, life: Seconds) -> Seconds:
    """Time in the prefill queue of a closed loop: R = own + service (N-1)/N (X R - X service / 2), X = N / (R + life)."""
    return np.maximum(
        (
            own
            + service * (users - 1)
            - life
            + np.sqrt(np.maximum((own + service * (users - 1) - life) ** 2 + 4 * own * life - 2 * service**2 * (users - 1), 0.0))
        )
        / 2,
        own,
    )


@formula("definition")
def burst_wait(*, service: Seconds, users: Count) -> Seconds:
    """Mean wait where all users ask at once: for half of the others' prompts."""
    return (users - 1) / 2 * service


@formula("definition")
def in_step_wait(*, service: Seconds, users: Count, equal: Count, first: Count) -> Seconds:
    """Mean wait of users whose answers are equally long. A step that prefills one prompt brings each of the others a token, so they end
    one after another, each during the prompt of the one before; where steps take prompts first they all end, and ask, together."""
    return equal * np.where(first > 0, (users - 1) / 2, np.minimum(users - 1, 1)) * service


@formula("definition")
def closed_wait(*, queued: Seconds, in_step: Seconds, burst: Seconds, share: Count) -> Seconds:
    """Mean wait for other prompts over a run of a closed loop, which begins with a burst of all users."""
    return np.maximum(queued, in_step) + share * np.maximum(burst - np.maximum(queued, in_step), 0.0)


@formula("definition")
def step_in_progress(*, step: Seconds, ahead: Count, held: Count) -> Seconds:
    """A request that arrives at any time waits for half of the step in progress, for those laid out already, and for those that the
    engine was told to hold it back."""
    return step * (0.5 + ahead + held)


@formula("definition")
def moved_wait(*, waited: Seconds, queued: Seconds, per_token: Seconds, decode: Seconds, output: Tokens) -> Seconds:
    """Where prompts come in bunches, what would have slowed the answers down is waited for at their start instead; no more than that."""
    return np.minimum(np.maximum(waited - queued, 0.0), np.maximum(per_token - decode, 0.0) * (output - 1))


@formula("definition")
def undisturbed_time(*, per_token: Seconds, moved: Seconds, output: Tokens) -> Seconds:
    """TPOT less what was waited for before the first token."""
    return per_token - moved / np.maximum(output - 1, 1)


@formula("definition")
def away_time(*, life: Seconds, fixed: Seconds, begun: Seconds) -> Seconds:
    """What a user's cycle holds beside the prefill queue: the answer, the request's fixed cost, the steps begun before it."""
    return life + fixed + begun


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
def answer_life(*, per_token: Seconds, output: Tokens) -> Seconds:
    """Time from the first token of an answer to its last."""
    return per_token * (output - 1)


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


@formula("general-knowledge-physics", eq="waiting is taken as exponential")
def tail_time(*, mean: Seconds, wait: Seconds, share: Count) -> Seconds:
    """The time that this share of requests stays below: what is not waiting is the same for all, and waiting falls off
    exponentially, as in a queue under heavy load."""
    return mean + wait * np.maximum(-np.log(1 - share) - 1, 0.0)
