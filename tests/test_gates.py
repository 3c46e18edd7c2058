"""Gates and thresholds: the targets that bind, when one is met, and when the build fails."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_scores import write

from core import gates
from core.errors import RunError
from core.gates import Gate, Threshold, accept, populations, table, targets, thresholds
from core.scores import METRICS, SPLITS, Choice, Scores


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Scores:
    return Scores(write(tmp_path_factory.mktemp("scores"), rows=3000))


def test_the_targets_that_bind() -> None:
    """The table that the project agreed on: median and mean, in percent."""
    aims = {item["population"]: {split: (aim["median"], aim["mean"]) for split, aim in item.items() if split != "population"}
            for item in targets()["targets"]}  # fmt: skip
    assert aims == {
        "decode": {"configuration": (10, 16), "model": (14, 22), "device": (22, 32), "source": (18, 28)},
        "prefill": {"configuration": (14, 24), "model": (20, 33), "device": (30, 50), "source": (35, 60)},
        "TPOT and throughput": {"configuration": (7, 13), "model": (13, 20), "device": (15, 28), "source": (22, 38)},
        "TTFT under load": {"configuration": (16, 28), "model": (30, 50), "device": (28, 45), "source": (40, 75)},
    }
    launch = {gate["name"]: gate["at_most"] for gate in targets()["gate"] if gate["family"].startswith("Launch")}
    assert list(launch.values()) == [10, 12, 15, 5]


def test_every_gate_names_what_exists() -> None:
    for population in populations().values():
        assert set(population.metrics) <= set(METRICS) and population.load in (None, "one", "many")
    for item in targets()["gate"]:
        assert ("at_most" in item) != ("at_least" in item)
        if "population" in item:
            assert item["population"] in populations() and item["split"] in SPLITS


def test_pooled_throughput_is_of_servers_only(found: Scores) -> None:
    line = found.summary(populations()["TPOT and throughput"].choice("model"))[0]
    parts = [
        found.summary(Choice("model", {"metric": [metric], "load": ["many"]}))
        for metric in ("TPOT", "output rate", "total rate", "latency")
    ]
    assert line["n"] == sum(part[0]["n"] for part in parts if part)
    assert line["n"] < found.summary(Choice("model", {"metric": ["TPOT", "output rate", "total rate", "latency"]}))[0]["n"]


@pytest.mark.parametrize(
    ("amount", "low", "high", "status"),
    [(10, None, 10, "met"), (10.01, None, 10, "missed"), (0.95, 0.95, None, "met"), (0.94, 0.95, None, "missed"),
     (80, 77, 83, "met"), (76, 77, 83, "missed"), (84, 77, 83, "missed"), (None, None, 5, "not judged")],
)  # fmt: skip
def test_status(amount: float | None, low: float | None, high: float | None, status: str) -> None:
    assert Gate("family", "name", amount, low, high).status == status


def test_every_gate_is_judged_where_there_are_rows(found: Scores) -> None:
    listed = gates.gates(found)
    counts = gates.cards(listed)
    assert counts["total"] == len(listed) == counts["met"] + counts["missed"] + counts["not_judged"]
    unknown = {gate.name for gate in listed if gate.status == "not judged"}
    assert unknown == {"Weights, median error", "KV cache, median error", "Quality of a quantisation, RMSE"}
    decode = next(gate for gate in listed if gate.name == "decode, unseen model, median")
    assert decode.found == pytest.approx(100 * found.summary(Choice("model", {"metric": ["decode"]}))[0]["median"])
    assert decode.limit == "≤ 14 %"


def test_figures_of_the_fit_are_gates_too(tmp_path: Path) -> None:
    write(tmp_path, rows=200)
    fit = json.loads((tmp_path / "fit.json").read_text())
    fit["figures"] = {"quality_rmse": {"value": 0.12, "n": 40}, "kv_median": {"value": 0.5}}
    (tmp_path / "fit.json").write_text(json.dumps(fit))
    found = {gate.name: gate for gate in gates.gates(Scores(tmp_path))}
    assert found["Quality of a quantisation, RMSE"].status == "missed"
    assert found["KV cache, median error"].status == "met" and found["KV cache, median error"].limit == "≤ 1 %"
    assert found["Weights, median error"].status == "not judged"


def test_the_table_holds_before_and_after(found: Scores) -> None:
    lines = {(line["population"], line["split"]): line for line in table(found)}
    assert set(lines) == {(name, split) for name in populations() for split in found.splits}
    line = lines[("decode", "device")]
    assert line["before_median"] == pytest.approx(found.baseline(Choice("device", {"metric": ["decode"]}), "analytic")["median"])
    assert (line["target_median"], line["target_mean"]) == (22, 32)
    assert lines[("decode", "row")]["target_median"] is None


# ---- Thresholds


def test_nothing_is_broken_right_after_it_was_accepted(found: Scores, tmp_path: Path) -> None:
    path = tmp_path / "thresholds.json"
    assert thresholds(found, path=path) == []
    count = accept(found, path)
    watched = thresholds(found, path=path)
    assert len(watched) == count == 4 * 6
    assert not any(t.broken for t in watched)
    assert all(t.noise > 0 and t.split != "row" for t in watched)


def test_a_worse_split_breaks_its_threshold(found: Scores, tmp_path: Path) -> None:
    path = tmp_path / "thresholds.json"
    accept(found, path)
    worse = [{**line, "median": 2 * line["median"]} if line["split"] == "device" else line for line in table(found)]
    assert {t.split for t in thresholds(found, worse, path) if t.broken} == {"device"}
    gone = [line for line in table(found) if line["population"] != "decode"]
    assert {t.population for t in thresholds(found, gone, path) if t.broken} == {"decode"}


def test_noise_is_allowed_and_more_is_not() -> None:
    line = Threshold("decode", "model", 0.14, 0.01, 0.1499)
    assert not line.broken and replace(line, now=0.1501).broken and replace(line, now=None).broken


@pytest.mark.parametrize("text", ["[", "{}", '{"thresholds": [{"split": "model"}]}'])
def test_broken_thresholds_get_a_sentence(found: Scores, tmp_path: Path, text: str) -> None:
    path = tmp_path / "thresholds.json"
    path.write_text(text)
    with pytest.raises(RunError, match="accept the scores again"):
        thresholds(found, path=path)


def test_rows_of_a_group_go_together() -> None:
    """Errors that differ between groups only: the median moves far more than as many free rows would let it."""
    rng = np.random.default_rng(0)
    per_group = np.exp(rng.normal(size=12))
    errors, groups = np.repeat(per_group, 100), np.repeat(np.arange(12), 100)
    together = gates.spread_of_median(errors, groups)
    alone = gates.spread_of_median(errors, np.arange(1200))
    assert together > 3 * alone > 0
