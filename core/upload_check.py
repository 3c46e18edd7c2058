"""What speaks against an uploaded run: faster than its own hardware allows, figures that contradict each other, runs known already.

A flag is a question to the person who measured: the bound is the datasheet's, with nothing fitted, and a card may be another one
than the name says.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

from core.batch import groups, metrics_of
from core.catalog.own_hardware import may_store
from core.corpus import SHIPPED, open_corpus
from core.machine import Columns
from core.predict import metrics_of as columns_of
from core.queue import Queue
from core.records import RunRecord
from core.runs import METRIC_COLUMNS, Run
from core.units import GIB, significant

SLACK = 1.1  # a datasheet's clock is no bound to the percent
_SOONER = ("ttft_", "tpot_", "latency_")
_WHAT = {
    "prefill": ("The end of the prompt", "arithmetic allows"), "decode": ("Tokens", "memory allows"),
    "output": ("Tokens of all users", "memory allows"), "total": ("Tokens", "memory and arithmetic allow"),
    "ttft": ("The first token", "arithmetic allows"), "tpot": ("Tokens", "memory allows"),
    "latency": ("The answer", "memory and arithmetic allow"),
}  # fmt: skip


def at_the_roof(runs: Sequence[Run]) -> list[Mapping[str, float]]:
    """For each run its columns were the device to reach its datasheet in everything and nothing else to cost time; empty where unknown."""
    found: list[Mapping[str, float]] = [{} for _ in runs]
    parts, _ = groups([run.scenario for run in runs], strict=False)
    for group in parts:
        gpu = Columns(**vars(group.c.gpu))
        for name in vars(gpu):
            if name.endswith("_efficiency"):
                setattr(gpu, name, 1.0)
            elif name.endswith(("_half", "_overhead")):
                setattr(gpu, name, 0.0)
        c = Columns(**{**vars(group.c), "gpu": gpu, "step_overhead": 0.0, "sequence_overhead": 0.0})
        table = metrics_of(type(group)(group.ir, group.arrival, group.index, c))
        memory = group.spread(c.device_memory) * group.spread(c.count) / GIB
        for n, place in enumerate(group.index.tolist()):
            told = columns_of(runs[place], {name: float(amounts[n]) for name, amounts in table.items()})
            found[place] = {**told, "vram_peak_gib": float(memory[n]) * runs[place].systems}
    return found


def flag(record: RunRecord, roof: Mapping[str, float]) -> str:
    """Why a run is doubtful, in one sentence; "" where nothing speaks against it. `roof` as `at_the_roof` gives it."""
    for column in METRIC_COLUMNS:
        measured, bound = getattr(record, column), roof.get(column, math.nan)
        if column == "power_w" or not measured or not bound > 0:
            continue
        times = bound / measured if column.startswith(_SOONER) else measured / bound
        if column == "vram_peak_gib":
            if times > 1.02:
                return f"{measured:,.4g} GiB at the peak is more than the {bound:,.4g} GiB that the device has."
        elif times > SLACK:
            what, limit = _WHAT[column.split("_")[0]]
            return f"{what} came {significant(times, 2)} times as fast as the device's {limit} by its datasheet."
    return _contradiction(record)


def _contradiction(record: RunRecord) -> str:
    first, whole = record.ttft_ms_p50 or record.ttft_ms_mean, record.latency_ms_p50 or record.latency_ms_mean
    if first and whole and first > 1.02 * whole:
        return f"The first token came after {first:,.4g} ms, but the whole answer after {whole:,.4g} ms."
    each, rate = record.tpot_ms_p50 or record.tpot_ms_mean, record.decode_toks_sec
    alone = (record.concurrency or 1) == 1 and record.load_kind in ("", "concurrency")
    if alone and each and rate and abs(math.log(each * rate / 1e3)) > math.log(1.25):
        return f"{rate:,.4g} tok/s are {1e3 / rate:,.3g} ms a token, but the time per token is given as {each:,.3g} ms."
    return ""


# ---- What is known already


def known(records: Sequence[RunRecord], session: Sequence[RunRecord] = ()) -> dict[str, str]:
    """run_id → where the same run stands already: among the user's own, or among the shipped ones under another name."""
    stored = Queue().records() if may_store() else []  # on a shared server they are not the visitor's
    own = {record.run_id for record in (*stored, *session)}
    found = {record.run_id: "You have this run already." for record in records if record.run_id in own}
    shipped = _shipped_figures()
    for record in records:
        if record.run_id not in found and (source := shipped.get(_figures(record.model_dump()))):
            found[record.run_id] = f"The same figures stand in the shipped runs ({source})."
    return found


def _figures(row: Mapping[str, object]) -> tuple[object, ...]:
    """What two copies of one measurement share: the question, and its figures to four digits."""
    amounts = ((name, row.get(name)) for name in METRIC_COLUMNS)
    told = tuple((name, f"{float(str(amount)):.4g}") for name, amount in amounts if amount is not None and amount == amount)
    return (row.get("scenario_id") or None, told) if told else (None, None)


@functools.cache
def _shipped_figures() -> dict[tuple[object, ...], str]:
    corpus = open_corpus((SHIPPED,))
    try:
        columns = ", ".join(("scenario_id", "source", *METRIC_COLUMNS))
        table = corpus.cursor().view("runs").filter("scenario_id is not null").project(columns).df()
    finally:
        corpus.close()
    plain = table.astype(object).where(table.notna(), None)
    return {_figures({str(key): cell for key, cell in row.items()}): str(row["source"]) for row in plain.to_dict("records")}
