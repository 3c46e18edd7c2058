"""What studies are to show, as tests of their runs: each holds, does not hold, or cannot be told from the runs there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core import sweep as estimates
from core.catalog.models import ir
from core.errors import RoofcastError
from core.records import RunRecord
from core.run_artifact import RunFile
from core.runs import read_run
from core.units import GB, GIB
from core.weights import weight_table
from harness.study import Expectation, Study

_LEAST = 3  # points of a line


@dataclass(frozen=True, slots=True)
class Verdict:
    """`holds`: None where there are too few runs to tell. `told`: what the runs say, a line each."""

    says: str
    holds: bool | None
    told: tuple[str, ...]

    @property
    def word(self) -> str:
        return {True: "holds", False: "does not hold", None: "cannot be told"}[self.holds]


@dataclass(frozen=True, slots=True)
class _Run:
    """A run with what was seen of memory beside it, GiB by kind."""

    record: RunRecord
    memory: dict[str, float]
    context: float
    extra: dict[str, float]

    @property
    def group(self) -> tuple[str, ...]:
        r = self.record
        return (r.model, r.engine, r.scheme, r.kv_dtype, f"tp{r.tp or 1:.0f}")


def verdicts(study: Study, files: Iterable[RunFile]) -> list[Verdict]:
    """Each expectation of a study, tested with its runs."""
    runs = [_seen(file) for file in files]
    return [_KINDS[expected.kind](expected, runs) if expected.kind in _KINDS else _unknown(expected) for expected in study.expect]


def _seen(file: RunFile) -> _Run:
    memory: dict[str, float] = {}
    context = 0.0
    for record in file.records:
        if record.memory_kind:
            memory[record.memory_kind] = record.memory_gib or 0.0
            context = max(context, record.context_tokens or 0.0)
    return _Run(file.records[0], memory, context or file.records[0].context_tokens or 0.0, file.extra)


def _unknown(expected: Expectation) -> Verdict:
    return Verdict(expected.says, None, (f"there is no test '{expected.kind}'; there are {', '.join(_KINDS)}",))


def _grouped(runs: Iterable[_Run]) -> dict[tuple[str, ...], list[_Run]]:
    groups: dict[tuple[str, ...], list[_Run]] = {}
    for run in runs:
        if not run.record.failure:
            groups.setdefault(run.group, []).append(run)
    return groups


def _line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """Intercept, slope and R² of a straight line."""
    slope, intercept = np.polyfit(np.asarray(x, float), np.asarray(y, float), 1)
    residual = np.asarray(y) - (intercept + slope * np.asarray(x))
    whole = float(((np.asarray(y) - np.mean(y)) ** 2).sum())
    return float(intercept), float(slope), 1.0 - float((residual**2).sum()) / whole if whole > 0 else 1.0


def _together(says: str, told: list[tuple[bool, str]]) -> Verdict:
    return Verdict(says, all(holds for holds, _ in told) if told else None, tuple(text for _, text in told) or ("too few runs",))


def kv_linear(expected: Expectation, runs: Sequence[_Run]) -> Verdict:
    """The cache grows in proportion to the tokens that it provides for, by as many bytes a token as is computed."""
    least, off = expected.figures.get("r2", 0.999), expected.figures.get("tolerance", 0.05)
    told = []
    for group, found in _grouped(runs).items():
        points = sorted({(r.extra.get("kv_cache_tokens") or r.context, r.memory["kv_buffer"]) for r in found if r.memory.get("kv_buffer")})
        if len({x for x, _ in points if x}) < _LEAST:
            continue
        _, slope, r2 = _line([x for x, _ in points], [y for _, y in points])
        ours = _bytes_per_token(found[0].record)
        near = ours is None or abs(slope * GIB / ours - 1) <= off
        computed = f", computed {ours:,.0f}" if ours else ""
        told.append((r2 >= least and near, f"{' '.join(group[:3])}: R² {r2:.5f}, {slope * GIB:,.0f} bytes a token{computed}"))
    return _together(expected.says, told)


def _bytes_per_token(record: RunRecord) -> float | None:
    try:
        scenario = read_run(record.model_dump()).scenario
        limits = estimates.answer(scenario, analytic=True).limits
        return float(getattr(limits["kv_per_sequence"], "value", limits["kv_per_sequence"])) / scenario.workload.context
    except (RoofcastError, KeyError, ZeroDivisionError):
        return None


def overhead_log_batch(expected: Expectation, runs: Sequence[_Run]) -> Verdict:
    """What memory takes beyond weights and cache grows with the logarithm of the batch, better than with the batch itself."""
    told = []
    for group, found in _grouped(runs).items():
        points = sorted((r.record.concurrency or 1.0, over) for r in found if (over := _overhead(r)) is not None)
        if len({x for x, _ in points}) < _LEAST:
            continue
        x, y = [p[0] for p in points], [p[1] for p in points]
        _, slope, logarithmic = _line(np.log2(x).tolist(), y)
        _, _, linear = _line(x, y)
        flat = max(y) - min(y) < 0.02 * max(max(y), 1e-9)
        text = f"{' '.join(group[:3])}: {slope * 1024:+,.0f} MiB a doubling, R² {logarithmic:.3f} by logarithm, {linear:.3f} by batch"
        told.append(
            (not flat and logarithmic >= linear and logarithmic >= expected.figures.get("r2", 0.9), text + (" (flat)" if flat else ""))
        )
    return _together(expected.says, told)


def _overhead(run: _Run) -> float | None:
    """GiB beyond weights and cache: buffers that the engine names, else the peak less both."""
    if "compute_buffer" in run.memory:
        return run.memory["compute_buffer"]
    if run.record.vram_peak_gib and "weights_buffer" in run.memory:
        return run.record.vram_peak_gib / (run.record.gpu_count or 1) - run.memory["weights_buffer"] - run.memory.get("kv_buffer", 0.0)
    return None


def tp_efficiency(expected: Expectation, runs: Sequence[_Run]) -> Verdict:
    """Speed by tensor parallel over that of the fewest devices, a device: below 1, and not above it with more of them."""
    lowest = expected.figures.get("least", 0.2)
    told = []
    groups: dict[tuple[Any, ...], dict[float, float]] = {}
    for run in runs:
        r, speed = run.record, _speed(run.record)
        if not r.failure and speed:
            groups.setdefault((r.model, r.scheme, r.concurrency), {})[r.tp or 1.0] = speed
    for (model, _, users), speeds in groups.items():
        if len(speeds) < 2:
            continue
        base = min(speeds)
        shares = {tp: speed * base / (speeds[base] * tp) for tp, speed in sorted(speeds.items()) if tp > base}
        text = ", ".join(f"TP {tp:.0f} {share:.0%}" for tp, share in shares.items())
        told.append(
            (all(lowest <= share <= 1.05 for share in shares.values()), f"{model} at {users:.0f} users, against TP {base:.0f}: {text}")
        )
    return _together(expected.says, told)


def _speed(r: RunRecord) -> float | None:
    if r.output_toks_sec or r.decode_toks_sec:
        return r.output_toks_sec or r.decode_toks_sec
    return 1e3 / r.tpot_ms_p50 if r.tpot_ms_p50 else None


def weights_ratio(expected: Expectation, runs: Sequence[_Run]) -> Verdict:
    """The weights of a quantisation over those of 16 bits."""
    wanted, off = expected.figures["ratio"], expected.figures.get("tolerance", 0.1)
    schemes = {str(one).lower() for one in expected.figures.get("schemes", [])}
    held: dict[str, dict[str, float]] = {}
    for run in runs:
        amount = run.memory.get("weights_buffer") or (run.record.weights_gib or 0.0)
        if amount and not run.record.failure:
            held.setdefault(run.record.model, {})[run.record.scheme] = amount
    told = []
    for model, amounts in held.items():
        base = next((amounts[s] for s in ("FP16", "BF16", "F16", "GGUF-BF16") if s in amounts), None)
        for scheme, amount in amounts.items():
            if base and any(scheme.lower().startswith(one) for one in schemes):
                told.append(
                    (
                        abs(amount / base - wanted) <= off,
                        f"{model} {scheme}: {amount / base:.3f} of 16 bits ({amount:.2f} of {base:.2f} GiB)",
                    )
                )
    return _together(expected.says, told)


def experts_in_memory(expected: Expectation, runs: Sequence[_Run]) -> Verdict:
    """All experts of a mixture are held, not only those that are active."""
    told = []
    for group, found in _grouped(runs).items():
        geometry = ir(group[0]) if group[0] else None
        sizes = [r.memory["weights_buffer"] * (r.record.tp or 1.0) for r in found if r.memory.get("weights_buffer")]
        if geometry is None or not sizes or all(block.mlp.kind != "moe" for block in geometry.blocks):
            continue
        whole = weight_table(geometry, found[0].record.scheme).bytes / GIB
        told.append((abs(sizes[0] / whole - 1) <= expected.figures.get("tolerance", 0.1), f"{group[0]}: {sizes[0]:.1f} of {whole:.1f} GiB"))
    return _together(expected.says, told)


def fits_as_predicted(expected: Expectation, runs: Sequence[_Run]) -> Verdict:
    """What is predicted to fit does not run out of memory."""
    fitted = sum(1 for run in runs if not run.record.failure)
    short = [run.record for run in runs if run.record.failure == "out_of_memory"]
    if not fitted + len(short):
        return _together(expected.says, [])
    return _together(expected.says, [(not short, f"{fitted} points ran, {len(short)} that were predicted to fit ran out of memory")] + [
        (False, f"{r.model} {r.scheme}, {r.prompt_tokens or 0:.0f} in, {r.concurrency or 1:.0f} users") for r in short[:10]])  # fmt: skip


def runtimes_differ(expected: Expectation, runs: Sequence[_Run]) -> Verdict:
    """The same model by several runtimes: what each takes beyond weights and cache, and how fast it is."""
    told: dict[str, dict[str, str]] = {}
    for run in runs:
        r, over = run.record, _overhead(run)
        if not r.failure and (r.concurrency or 1) == 1:
            parts = [
                f"{over * GIB / GB:.2f} GB beyond weights and cache" if over is not None else "",
                f"{_speed(r):.4g} tok/s" if _speed(r) else "",
            ]
            told.setdefault(r.model, {})[r.engine] = ", ".join(part for part in parts if part)
    found = [(True, f"{model}, {name}: {text}") for model, each in told.items() if len(each) > 1 for name, text in each.items()]
    return _together(expected.says, found)


_KINDS: dict[str, Callable[[Expectation, Sequence[_Run]], Verdict]] = {
    test.__name__: test
    for test in (kv_linear, overhead_log_batch, tp_efficiency, weights_ratio, experts_in_memory, fits_as_predicted, runtimes_differ)
}
KINDS = tuple(_KINDS)
