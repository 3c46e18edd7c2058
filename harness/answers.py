"""Answers to real questions of people who buy, rent or run: `python -m harness.answers` writes docs/answers.md."""

from __future__ import annotations

import functools
import timeit
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.catalog.models import ir
from core.evidence import nearest
from core.goal import Goal, goal
from core.predict import write_whole
from core.quantity import value
from core.solve import solve
from core.solve_tables import on_host
from core.solve_tiers import gives_way
from core.solve_words import OBJECTIVES, asked_words, differs, how_many, machines, quality_words, running
from core.solved import GATES, Candidate, Solved
from core.sweep import answer
from core.trust import what_to_trust
from core.units import show
from core.words import model_name, ranged

ANSWERS = Path(__file__).resolve().parents[1] / "docs" / "answers.md"
CHAT = {"prompt_tokens": 1024, "output_tokens": 512, "context_tokens": 8192, "min_decode_tok_s": 10}
SMALL = ["Qwen3-4B", "Qwen3-8B", "gemma-3-12b-it", "Qwen3-14B", "gpt-oss-20b", "Mistral-Small-3.2-24B-Instruct-2506"]
THIRTY = ["Qwen3-32B", "Qwen3-30B-A3B", "gemma-3-27b-it", "QwQ-32B", "Mistral-Small-3.2-24B-Instruct-2506"]
TINY = ["Llama-3.2-1B-Instruct", "Qwen3-0.6B", "Qwen3-1.7B", "Llama-3.2-3B-Instruct", "gemma-3-4b-it", "Qwen3-4B"]
LARGE = {"models": "Qwen/Qwen3-235B-A22B", "prompt_tokens": 2048, "output_tokens": 512, "context_tokens": 16_384, "hardware": "owned",
         "min_decode_tok_s": 5, "objective": "latency"}  # fmt: skip

# Question → goal. Targets hold at the slow end of the ranges, so that an answer is not a matter of luck.
QUESTIONS: dict[str, dict[str, Any]] = {
    "A student with $600 and a PC: the largest model that answers at reading speed": {
        **CHAT, "models": SMALL, "hardware": "build", "have_host": True, "max_devices": 2, "max_purchase_usd": 600,
        "objective": "model_size", "sure": True,
    },
    "A student with $600 and nothing else": {
        **CHAT, "models": SMALL, "hardware": "build", "max_purchase_usd": 600, "objective": "model_size", "min_decode_tok_s": 8,
    },
    "The owner of a card with 24 GB (RTX 3090): the quickest of five models of the 30B class": {
        **CHAT, "models": THIRTY, "owned": {"device": "RTX 3090", "ram_gb": 64}, "hardware": "owned", "objective": "latency", "sure": True,
        "prompt_tokens": 2048, "context_tokens": 16_384,
    },
    "A team that serves Llama-3.3-70B to 50 users, first token within 2 s": {
        "models": "meta-llama/Llama-3.3-70B-Instruct", "users": 50, "context_tokens": 4096, "max_ttft_s": 2.0, "min_decode_tok_s": 10,
        "sure": True,
    },
    "The cheapest cloud way to run DeepSeek-R1 at 20 tok/s for each of 8 users": {
        "models": "deepseek-ai/DeepSeek-R1", "users": 8, "output_tokens": 1024, "context_tokens": 16_384, "min_decode_tok_s": 20,
        "hardware": "cloud", "sure": True,
    },
    "Qwen3-235B on a Mac Studio (M3 Ultra, 512 GB)": {
        **LARGE, "owned": {"device": "m3-ultra-80core", "ram_gb": 512},
    },
    "Qwen3-235B on four RTX 3090 in a workstation with 256 GB": {
        **LARGE, "owned": {"device": "RTX 3090", "count": 4, "ram_gb": 256, "cpu": "EPYC 9354", "link": "pcie-4.0-x16"},
    },
    "A Raspberry Pi assistant: the largest model at reading speed": {
        "models": TINY, "hardware": "build", "devices": ["raspberry-pi-5", "raspberry-pi-5-16gb"], "prompt_tokens": 128,
        "output_tokens": 128, "context_tokens": 2048, "min_decode_tok_s": 5, "objective": "model_size",
    },
}  # fmt: skip
# Questions whose answers are then held against each other.
AGAINST = [("Qwen3-235B on a Mac Studio (M3 Ultra, 512 GB)", "Qwen3-235B on four RTX 3090 in a workstation with 256 GB")]
_HEAD = """# What the solver answers

Written by `python -m harness.answers`; the page "What should I buy?" opens each question by its link. Prices of cards are launch
prices and those of whole machines list prices from general knowledge, all marked as guesses: put in what you would pay. Numbers are
medians with the range from the 10th to the 90th percentile; ranking and comparing is done at the bad ends of the ranges. Seconds are
the least of three times on a machine with two cores that other programs used, too.

"""


def lines() -> Iterator[str]:
    """Every question with its answer, the runner-up, why, and where the candidates went. Raises as `solve` does."""
    answered: dict[str, Candidate] = {}
    for title, raw in QUESTIONS.items():
        asked = goal(raw)
        found = solve(asked)  # warm from then on, as on a server
        took = min(timeit.repeat(functools.partial(solve, asked), number=1, repeat=3))
        yield f"## {title}\n"
        sure = " Targets hold at the slow end of the ranges." if asked.sure else ""
        yield f"{asked_words(asked)} Best is: {OBJECTIVES[asked.objective].lower()}.{sure} [Open](/target?{asked.to_query()})\n"
        yield from _answered(asked, found)
        yield f"{_funnel(found, took)}\n"
        if found.ranked:
            answered[title] = found.ranked[0]
        for one, other in AGAINST:
            if title == other and one in answered and other in answered:
                yield f"{_against(answered[one], answered[other])}\n"


def _answered(asked: Goal, found: Solved) -> Iterator[str]:
    if not found.ranked:
        yield "Nothing in the catalog meets this.\n"
    for name, candidate in zip(("Answer", "Runner-up"), found.ranked, strict=False):
        what = f"{model_name(candidate.scenario.model)} on {machines(candidate)}"
        away = f", {apart}" if (apart := on_host(candidate)) else ""
        yield f"- **{name}: {what}**, {running(candidate)}{away}. {_numbers(candidate)} {_trust(candidate)}"
    if found.ranked:
        first = found.ranked[0]
        yield f"- **Why:** {_why(found)} {quality_words(first)} {gives_way(asked, first)}"
    if others := list(_others(asked, found)):
        yield f"- **The other models:** {'; '.join(others)}."
    yield "- **Nearest misses:**"
    yield from (f"  - {GATES[gone.gate]}: {gone.sentence}" for gone in found.rejected if gone.sentence)
    yield ""


def _numbers(candidate: Candidate) -> str:
    said = answer(candidate.scenario)
    first, each = ranged(said, "ttft", "s"), ranged(said, "decode_rate", "tok/s")
    speeds = f"{each} each, first token in {first}, {show(candidate.output_rate, 'tok/s')} in all"
    buy = f", {show(candidate.purchase_usd, 'USD')} to buy" if candidate.purchase_usd else ""
    memory = f"{show(float(value(said.device.peak)), 'B')} of {show(float(value(said.device.limit)), 'B')} on each device"
    cost = f"{show(candidate.usd_per_month, 'USD')} a month{buy}"
    return f"{speeds}; {memory}; {how_many(candidate)}; {cost}; {show(candidate.power_w, 'W')}."


def _trust(candidate: Candidate) -> str:
    said = answer(candidate.scenario)
    told = what_to_trust(said, nearest(candidate.scenario, corrected=said.version is not None))
    return f"To trust: speed {told.speed.word}, tail {told.tail.word}, memory {told.memory.word}."


def _why(found: Solved) -> str:
    first, others = found.ranked[0], found.ranked[1:]
    others_of = len({c.machine.name for c in found.ranked})
    start = f"It comes first of {len(found.ranked)} ways listed on {others_of} machine{'s' if others_of > 1 else ''}."
    if not others:
        return start
    apart = differs(others[0], first)
    return f"{start} At the bad ends of the ranges the runner-up {apart}." if apart else f"{start} The runner-up is as good."


def _others(asked: Goal, found: Solved) -> Iterator[str]:
    """The best way with each further model of a shortlist; which of them meet the goal in no way."""
    best: dict[str, Candidate] = {}
    for candidate in found.ranked:
        best.setdefault(candidate.scenario.model, candidate)
    named = {candidate.scenario.model for candidate in found.ranked[:2]}
    for model, candidate in best.items():
        if model not in named:
            speed = ranged(answer(candidate.scenario), "decode_rate", "tok/s")
            yield f"{model_name(model)} in {candidate.quant} on {machines(candidate)} at {speed}"
    without = [model_name(model) for name in asked.models if (model := ir(name).id) not in best]
    if without and best:
        yield f"none listed with {', '.join(without)}"


def _against(one: Candidate, other: Candidate) -> str:
    apart = differs(other, one)
    return f"**Between the two:** against {machines(one)}, at the bad ends of the ranges, {machines(other)} {apart or 'is as good'}."


def _funnel(found: Solved, took: float) -> str:
    f = found.funnel
    gone = ", ".join(f"{GATES[one.gate]} {one.count:,}" for one in found.rejected if one.count)
    where = f"{f.machines:,} machine{'s' if f.machines > 1 else ''}"
    return (
        f"{f.enumerated:,} candidates on {where}; turned away by {gone}; {f.pruned:,} beaten by one alike, {f.estimated:,} "
        f"estimated roughly, {f.exact:,} exactly, {f.passed:,} pass: {took:.1f} s warm, {f.enumerated / took:,.0f} candidates a second."
    )


def main() -> None:
    """Writes docs/answers.md."""
    write_whole(ANSWERS, _HEAD + "\n".join(lines()))


if __name__ == "__main__":
    main()
