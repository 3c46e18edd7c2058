"""A load's answers as the columns of a run, with what a run has no column for beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from harness.load import Answer, Load
from harness.stats import spread, summary

_ONE_EACH = (0.9, 1.1)  # tokens a chunk, between which a gap is a token's
_MOST_FAILED = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """What a benchmark found: `columns` of core.records, `extra` figures, `repeats` by metric, `spread` of them."""

    columns: dict[str, Any]
    extra: dict[str, float]
    repeats: dict[str, tuple[float, ...]]
    spread: dict[str, float]


def measured(load: Load) -> Measured:
    """The figures of a load. Percentiles are over its requests; rates over the time from the first to the last."""
    done, schedule = load.completed, load.schedule
    ttft, latency = ([1e3 * getattr(a, name) for a in done] for name in ("ttft", "latency"))
    tpot = [1e3 * each for a in done if (each := a.tpot) is not None]
    written, read = sum(a.output_tokens for a in done), sum(a.prompt_tokens for a in done)
    failed = len(load.answers) - len(done)
    cached = fmean(a.cached_tokens for a in done)
    columns: dict[str, Any] = {
        "load_kind": "concurrency" if schedule.kind == "closed" else "request_rate",
        "concurrency": schedule.users if schedule.kind == "closed" else None,
        "request_rate": schedule.rate if schedule.kind != "closed" else None,
        "prompt_tokens": fmean(a.prompt_tokens for a in done), "output_tokens": fmean(a.output_tokens for a in done),
        "prefix_cached_tokens": cached or None,
        "output_toks_sec": written / load.seconds, "total_toks_sec": (written + read) / load.seconds,
        **summary("ttft_ms", ttft), **summary("tpot_ms", tpot), **summary("latency_ms", latency),
    }  # fmt: skip
    if failed > _MOST_FAILED * len(load.answers):
        columns["sanity_flag"] = f"{failed} of {len(load.answers)} requests failed"
    if schedule.kind == "trace":
        columns["fit_reason"] = "lengths and times of a trace, which a scenario has only on average"
    repeats = {"ttft_ms": tuple(ttft), "tpot_ms": tuple(tpot)}
    found = {name: spread(_rounds(samples, schedule.users)) for name, samples in repeats.items() if samples}
    if schedule.kind != "closed":
        found = {}  # random arrivals spread by themselves
    columns["stddev_rel"] = found.get("tpot_ms")
    return Measured(columns, _extra(load, done, failed), repeats, found)


def _rounds(samples: Sequence[float], users: int) -> list[float]:
    """Means of as many answers as there are users: within a round they differ by their place in the queue."""
    whole = [samples[at : at + users] for at in range(0, len(samples), users)]
    return [fmean(each) for each in whole if len(each) == users]


def _extra(load: Load, done: Sequence[Answer], failed: int) -> dict[str, float]:
    chunks, tokens = sum(len(a.gaps) + 1 for a in done), sum(a.output_tokens for a in done)
    extra = {"requests": float(len(done)), "failed": float(failed), "seconds": load.seconds, "tokens_per_chunk": tokens / chunks}
    if _ONE_EACH[0] <= tokens / chunks <= _ONE_EACH[1]:
        extra |= summary("itl_ms", [1e3 * gap for a in done for gap in a.gaps])
    late = [a.sent - (r.at or 0.0) for a, r in zip(sorted(done, key=lambda a: a.sent), load.schedule.requests, strict=False)]
    if load.schedule.kind != "closed" and not failed:
        extra["late_ms_p99"] = summary("late", [1e3 * each for each in late])["late_p99"]  # how far the generator itself lagged
    return extra
