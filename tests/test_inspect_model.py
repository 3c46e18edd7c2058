"""The inspector's figures: the same totals as the estimator's, by other ways, and an honest word on the published ones."""

from __future__ import annotations

import csv
import io

import pytest
from fake_hub import FakeHub, repo_of, unquantised

from core.catalog.models import ir, models
from core.errors import CatalogError, ScenarioError
from core.hub import fetch
from core.inspect_model import (
    GROUPS,
    as_published,
    field_rows,
    headline,
    inspect_model,
    model_options,
    parameters,
    published_check,
    quant_options,
    set_by_hand,
    short,
    weights,
)
from core.model_diff import diff_rows
from core.model_tensors import as_csv, group_rows, tensor_rows, tensors_csv
from core.quantity import value
from core.weights import weight_table

SMALL = "Qwen/Qwen2.5-0.5B-Instruct"
FEW = ["Qwen/Qwen3-8B", "google/gemma-3-27b-it", "deepseek-ai/DeepSeek-V3", "openai/gpt-oss-120b"]


@pytest.mark.parametrize("name", FEW)
def test_totals_are_the_estimators(name: str) -> None:
    found = inspect_model(name)
    assert value(parameters(found.ir)) == found.ir.parameters
    assert value(parameters(found.ir, active=True)) == pytest.approx(found.ir.active_parameters, abs=1)
    for quant in (found.published_as, "Q4_K_M"):
        table = weight_table(found.ir, quant)
        assert value(weights(found.ir, quant)) == pytest.approx(table.bytes, rel=1e-12)
        rows = tensor_rows(found.ir, quant)
        sums = group_rows(rows)
        at = [row["Group"] for row in sums].index("Total")
        assert sums[at]["Bytes"] == table.bytes == sum(row["Bytes"] for row in sums[:at]) and sums[at]["Parameters"] == table.elements
        assert sums[at]["Share (%)"] == pytest.approx(100)
        towers = 0 if found.ir.tower is None else len(found.ir.tower.tensors)
        assert sum(row["Count"] for row in rows) == len(found.ir.tensors) + towers
        listed = list(csv.DictReader(io.StringIO(tensors_csv(found.ir, quant))))
        assert sum(int(row["Bytes"]) for row in listed if row["Group"] not in ("Prediction module", GROUPS["vision"])) == table.bytes


def test_every_model_of_the_catalog_is_shown_with_a_word_on_its_total() -> None:
    marks: dict[str, int] = {}
    for name in models():
        found = inspect_model(name)
        mark, sentence = published_check(found)
        marks[mark] = marks.get(mark, 0) + 1
        assert sentence.endswith(".") and name in headline(found) and quant_options(found)[0] == found.published_as
        assert (mark == "unknown") == (models()[name].published_parameters is None), name
        assert mark != "exact" or models()[name].published_parameters in (
            found.ir.parameters,
            found.ir.parameters + found.ir.mtp_parameters,
            found.ir.parameters + (found.ir.tower.parameters if found.ir.tower else 0),
            found.ir.parameters + found.ir.mtp_parameters + (found.ir.tower.parameters if found.ir.tower else 0),
        )
    assert marks["exact"] > 0.75 * (sum(marks.values()) - marks["unknown"]), marks


def test_differences_are_named() -> None:
    assert published_check(inspect_model("google/gemma-3-27b-it")) == (
        "exact", "Equals the published total of 27,432,406,640, with the vision tower's 423,060,336.")  # fmt: skip
    assert published_check(inspect_model("google/gemma-4-E2B-it"))[1].endswith("for it counts text, vision and audio.")
    mark, sentence = published_check(inspect_model(set_by_hand(SMALL, "num_hidden_layers=12")))
    assert mark == "explained" and "set by hand" in sentence


def test_fields_say_where_they_come_from() -> None:
    name = set_by_hand(SMALL, "num_hidden_layers=12")
    rows = {row["Field"]: row for row in field_rows(inspect_model(name))}
    assert rows["num_hidden_layers"]["From"] == "by hand" and "the config says 24" in rows["num_hidden_layers"]["Origin"]
    assert rows["hidden_size"]["From"] == "catalog"
    assert set_by_hand(name, "head_dim=128").endswith("?head_dim=128&num_hidden_layers=12") and as_published(name) == SMALL
    ways = {row["From"] for model in models() for row in field_rows(inspect_model(model))}
    assert {"catalog", "assumed", "derived"} <= ways


@pytest.mark.parametrize("text", ["layers", "num_hidden_layers=many", "nonsense=4", "hidden_size=0"])
def test_nonsense_by_hand_is_refused(text: str) -> None:
    with pytest.raises(ScenarioError):
        set_by_hand(SMALL, text)


def test_a_fetched_model_is_known_without_asking_again(hub: FakeHub) -> None:
    hub.repos["me/small"] = repo_of(models()[SMALL].config, unquantised(ir(SMALL)))
    name = fetch("me/small", False, local=False).id
    asked = len(hub.asked)
    found = inspect_model(name)
    assert found.facts["weights_from"] == "header" and published_check(found)[0] == "unknown"
    assert group_rows(tensor_rows(found.ir, found.published_as))[-1]["Bytes"] == sum(found.facts["dtypes_bytes"].values())
    assert {row["From"] for row in field_rows(found)} >= {"the model's files"}
    assert model_options(name)[0] == name and model_options("nobody/nothing@123456789abc") == model_options()
    assert len(hub.asked) == asked
    with pytest.raises(CatalogError, match="not fetched"):
        inspect_model("nobody/nothing@123456789abc")


def test_a_diff_marks_what_differs() -> None:
    one, other = inspect_model("Qwen/Qwen3-8B"), inspect_model("openai/gpt-oss-120b")
    assert not [row for row in diff_rows(one, one) if row["Differs"]]
    rows = {row["What"]: row for row in diff_rows(one, other)}
    assert rows["Layers"] == {"Part": "Figures", "What": "Layers", "Left": "36", "Right": "36", "Differs": False}
    assert rows["Parameters"]["Differs"] and rows["sliding_window"]["Left"] == "–" and rows["sliding_window"]["Right"] == "128"
    assert rows["full attention + experts: layers"]["Left"] == "–"
    mirrored = {row["What"]: row for row in diff_rows(other, one)}
    assert {what: (row["Right"], row["Left"]) for what, row in mirrored.items()} == {w: (r["Left"], r["Right"]) for w, r in rows.items()}


def test_what_a_spreadsheet_would_run_is_only_text() -> None:
    assert as_csv([{"a": "=1+1", "b": -1.5}, {"a": None, "b": "@x"}], ["a", "b"]) == "a,b\r\n'=1+1,-1.5\r\n,'@x\r\n"


def test_counts_as_people_say_them() -> None:
    assert [short(n) for n in (1.04e12, 8_190_735_360, 412_898_560, 1_500)] == ["1.04 T", "8.19 B", "413 M", "1.50 k"]
