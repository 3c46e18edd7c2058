"""Re-posts of one measurement: kept once, where most is said of it, with the other places in `also_in`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from core.records import RunRecord
from core.runs import METRIC_COLUMNS

_DIGITS = 4  # to which figures must agree
_ENOUGH = 4  # agreeing digits in all: two machines may both reach "42 tok/s"
_ENOUGH_IN_PART = 8  # where one place states figures that the other does not
# Settings that make another run of the same scenario, where both places state them.
_SETTINGS = (
    "runtime_version", "run_date", "flash_attn", "n_batch", "n_ubatch", "threads", "kv_dtype", "cpu_name", "ram_gb",
    "weights_gib", "power_limit_w",
)  # fmt: skip


def _question(record: RunRecord) -> tuple[object, ...]:
    """What a record measured, before any figure; a point of memory stands for itself."""
    if record.memory_kind:
        return (record.run_id,)
    asked = record.scenario_id or (record.model_id, record.model_name_raw, record.gpu_name, record.cpu_name, record.quant)
    return (asked, record.load_kind, record.concurrency, record.prompt_tokens, record.output_tokens, record.context_depth)


def figures(record: RunRecord) -> dict[str, str]:
    """The record's metrics to four significant digits."""
    return {name: f"{found:.{_DIGITS}g}" for name in METRIC_COLUMNS if (found := getattr(record, name)) is not None}


def same_measurement(one: RunRecord, other: RunRecord) -> bool:
    """Whether two records of one question are one measurement.

    Every figure that both state agrees, and enough of them; within a source their settings are equal, across sources none
    differs.
    """
    if one.memory_kind:
        return True
    here, there = figures(one), figures(other)
    shared = here.keys() & there.keys()
    if any(here[name] != there[name] for name in shared):
        return False
    digits = sum(len(here[name].split("e")[0].replace(".", "").strip("0")) for name in shared)
    if digits < (_ENOUGH if here.keys() == there.keys() else _ENOUGH_IN_PART):
        return False
    pairs = [(getattr(one, name), getattr(other, name)) for name in _SETTINGS]
    if one.source == other.source:
        return all(a == b for a, b in pairs)
    return all(a == b for a, b in pairs if a not in (None, "") and b not in (None, ""))


def merged(records: Iterable[tuple[str, RunRecord]], counts: Counter[str]) -> list[tuple[str, RunRecord]]:
    """The records in their order without re-posts; `counts` gets their number by source that repeats.

    Kept is the record that says most; of equals the first.
    """
    questions: dict[tuple[object, ...], list[list[tuple[str, RunRecord]]]] = {}
    order: list[list[tuple[str, RunRecord]]] = []
    for item in records:
        known = questions.setdefault(_question(item[1]), [])
        home = next((group for group in known if all(same_measurement(record, item[1]) for _, record in group)), None)
        if home is None:
            home = []
            known.append(home)
            order.append(home)
        home.append(item)
    kept = []
    for group in order:
        first = max(group, key=lambda item: len(item[1].model_dump(exclude_defaults=True)))
        rest = [record for item in group if (record := item[1]) is not first[1]]
        counts.update(record.source for record in rest)
        places = dict.fromkeys(f"{record.source}: {record.source_path}" for record in rest)
        kept.append((first[0], first[1].model_copy(update={"also_in": "; ".join(places)}) if rest else first[1]))
    return kept
