"""Waiting in a closed loop, held against engines simulated step by step: what their schedulers do, nothing measured."""

from __future__ import annotations

import heapq
import itertools

import numpy as np
import pytest

from core.formulas.queueing import burst_wait, closed_wait, in_step_wait, step_in_progress

DECODE, PREFILL, REQUESTS = 0.012, 50e-6, 10  # s a decode step, s a prompt token, requests a user
PROMPT, OUTPUT, BUDGET = 4096, 256, 4096  # one prompt a step: of several that fit, simulated users gather in groups, measured ones do not
SERVICE = PROMPT * PREFILL + DECODE


def simulated(users: int, *, first: bool, spread: float, seed: int = 0) -> float:
    """Mean TTFT, s, of users who send REQUESTS each, the first together and each other one as the last is answered.

    A step carries whole prompts up to the token budget and, unless prompts come `first`, a token of every answer. Lengths are
    uniform between (1 - spread) and all of the nominal.
    """
    random = np.random.default_rng(seed)
    order = itertools.count()
    now, sent, found = 0.0, 0, []
    coming: list[tuple[float, int, int, int]] = []
    decoding: list[list[int]] = []

    def send() -> None:
        nonlocal sent
        if sent < users * REQUESTS:
            sent += 1
            prompt, output = (round(length * (1 - spread * random.random())) for length in (PROMPT, OUTPUT))
            heapq.heappush(coming, (now + 0.002 + 0.001 * random.random(), next(order), prompt, output))

    for _ in range(users):
        send()
    waiting: list[tuple[float, int, int, int]] = []
    while coming or waiting or decoding:
        while coming and coming[0][0] <= now:
            waiting.append(heapq.heappop(coming))
        if not waiting and not decoding:
            now = coming[0][0]
            continue
        taken: list[tuple[float, int, int, int]] = []
        while waiting and (not taken or sum(request[2] for request in taken) + waiting[0][2] <= BUDGET):
            taken.append(waiting.pop(0))
        steps = not (first and taken)
        now += PREFILL * sum(request[2] for request in taken) + DECODE
        if steps:
            for answer in decoding:
                answer[0] -= 1
            for _ in range(sum(answer[0] == 0 for answer in decoding)):
                send()
            decoding = [answer for answer in decoding if answer[0]]
        for start, _, _, output in taken:
            found.append(now - start)
            decoding.append([output - 1])
    return float(np.mean(found))


def closed_form(users: int, *, first: bool, equal: bool) -> float:
    in_step = in_step_wait(service=SERVICE, users=users, equal=float(equal), first=float(first))
    burst = burst_wait(service=SERVICE, users=users)
    waited = closed_wait(queued=0.0, in_step=in_step, burst=burst, share=1 / REQUESTS)
    return float(SERVICE + waited + step_in_progress(step=DECODE, ahead=0.0, held=0.0))


@pytest.mark.parametrize("users", [4, 16, 64])
@pytest.mark.parametrize("first", [False, True], ids=["beside decoding", "prompts first"])
@pytest.mark.parametrize("equal", [False, True], ids=["lengths differ", "lengths equal"])
def test_the_closed_form_is_what_a_simulated_engine_does(users: int, first: bool, equal: bool) -> None:
    found = simulated(users, first=first, spread=0.0 if equal else 0.2)
    assert closed_form(users, first=first, equal=equal) == pytest.approx(found, rel=0.25)


def test_answers_of_one_length_keep_users_in_step() -> None:
    # The reason for the form: with prompts first everybody asks together in every round, however long the answers are.
    assert simulated(32, first=True, spread=0.0) > 5 * simulated(32, first=True, spread=0.2)


def test_one_user_waits_for_nobody() -> None:
    for first in (0.0, 1.0):
        assert in_step_wait(service=1.0, users=1.0, equal=1.0, first=first) == 0
    assert burst_wait(service=1.0, users=1.0) == 0
