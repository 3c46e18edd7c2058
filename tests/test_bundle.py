"""A result as a file: what it holds, that it comes back the same, elsewhere too, and what is said where it cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_hub import FakeHub, FakeRepo, repo_of, unquantised
from gguf_files import gguf_of
from hypothesis import given, settings
from hypothesis import strategies as st

from core import builds, hub_store
from core.bundle import MAX_BYTES, Bundle, bundle, exact, file_name, read
from core.bundle_replay import Replay, replay
from core.bundle_store import brought, store
from core.catalog import own_hardware
from core.catalog.models import ir, model, models
from core.errors import CatalogError, RoofcastError, ScenarioError
from core.estimate import launch
from core.hub import fetch
from core.scenario import Scenario, from_flat, from_query
from core.sweep import answer

SMALL = "Qwen/Qwen2.5-0.5B-Instruct"
CONFIG = models()[SMALL].config
OWN = "My card?base=GeForce RTX 4090&memory_bandwidth_gb_s=950"
FILE = bundle(answer(from_flat({"model": SMALL, "device": OWN, "quant": "Q4_K_M"}))).to_json()


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path / "mine"))
    monkeypatch.delenv("ROOFCAST_HOSTED", raising=False)
    hub_store.IN_PROCESS.clear()
    yield tmp_path
    hub_store.IN_PROCESS.clear()


def there(asked: Scenario) -> bytes:
    return bundle(answer(asked)).to_json().encode()


def changed(**changes: Any) -> Bundle:
    """The usual file with changes at paths such as made__correction."""
    raw = json.loads(FILE)
    for path, item in changes.items():
        *way, last = path.split("__")
        place = raw
        for step in way:
            place = place[OWN if step == "own" else step]
        place[last] = item
    return read(json.dumps(raw).encode())


scenarios = st.fixed_dictionaries(
    {
        "model": st.sampled_from([SMALL, "Qwen/Qwen3-8B", "deepseek-ai/DeepSeek-V3", "Qwen/Qwen3-8B?head_dim=64&num_hidden_layers=40"]),
        "device": st.sampled_from(["GeForce RTX 4090", "H100 SXM5 80 GB", OWN]),
        "count": st.sampled_from([1, 2, 8]),
        "runtime": st.sampled_from(["llama.cpp", "vllm"]),
        "concurrency": st.integers(1, 200),
        "prompt_tokens": st.integers(1, 8000),
    },
    optional={
        "others": st.sampled_from(["2x Tesla P40", "My card?base=Tesla P40&memory_gb=48 via oculink"]),
        "ram_gb": st.floats(16, 2000),
        "kv_dtype": st.just("fp8"),
        "measured_bandwidth_gb_s": st.floats(100, 2000),
        "memory_fraction": st.floats(0.5, 0.99),
        "usd_per_h": st.floats(0, 50),
        "equal_lengths": st.just(True),
    },
)


@given(scenarios)
@settings(max_examples=10)
def test_what_goes_out_comes_in_the_same(knobs: dict[str, Any]) -> None:
    """Scenario and numbers, ranges and all, with every override; and the link carries the same overrides."""
    asked = from_flat(knobs)
    assert from_query(asked.to_query()) == asked
    try:
        found = answer(asked)
    except RoofcastError:
        return
    told = read(bundle(found).to_json().encode())
    assert told.asked() == exact(asked) == asked.with_(others=told.asked().system.others)
    again = replay(told)
    assert again.same and not again.why and not again.notes, (again.sentence, again.why, again.notes)
    assert again.scenario == told.asked() and again.found.bands == found.bands
    assert {name: again.found.metric(name) for name in found.metrics} == pytest.approx(
        {name: found.metric(name) for name in found.metrics}, nan_ok=True, rel=1e-12
    )


# ---------------------------------------------------------------- on another machine


def elsewhere(monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:
    """A machine that holds nothing and reaches nobody."""
    place = home / "elsewhere"
    monkeypatch.setenv("ROOFCAST_HOME", str(place))
    monkeypatch.setenv("ROOFCAST_OFFLINE", "1")
    return place


@pytest.mark.parametrize(
    ("text", "runtime", "loads"), [("me/small", "vllm", "vllm serve me/small --revision"), ("me/gg:Q4_K_M", "llama.cpp", "me/gg")]
)
@pytest.mark.parametrize("fields", ["", "?max_position_embeddings=65536"])
def test_a_fetched_model_is_the_files(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, home: Path, text: str, runtime: str, loads: str, fields: str
) -> None:
    hub.repos["me/small"] = repo_of(CONFIG, unquantised(ir(SMALL)))
    hub.repos["me/gg"] = FakeRepo({"m-Q4_K_M.gguf": gguf_of(ir(SMALL), CONFIG)})
    asked = from_flat({"model": fetch(text).id + fields, "device": OWN, "runtime": runtime})
    raw = there(asked)
    assert replay(read(raw)).scenario == asked, "where the model is, it is that one"
    place = elsewhere(monkeypatch, home)
    with pytest.raises(CatalogError, match="was not fetched"):
        model(asked.model)
    found = replay(read(raw))
    assert found.same, found.sentence
    assert found.scenario.model.startswith("bundle/") and found.scenario.model.endswith(fields)
    assert "does not have it" in found.notes[0] and not place.exists(), "nothing is stored unasked"
    assert loads in launch(found.found)
    onward = replay(read(there(found.scenario)))
    assert onward.same and onward.scenario == found.scenario, "a bundle of a bundle is the same"
    assert brought(found) and any("is stored" in said for said in store(found))
    hub_store.IN_PROCESS.clear()
    assert answer(found.scenario.with_(prompt_tokens=78)).runs


def test_a_file_cannot_stand_in_for_a_stored_model(hub: FakeHub) -> None:
    """A name proves nothing: other content under it gets a name of its own, and the stored model stays what it is."""
    hub.repos["me/small"] = repo_of(CONFIG, unquantised(ir(SMALL)))
    asked = from_flat({"model": fetch("me/small").id, "device": "GeForce RTX 4090"})
    before = answer(asked).metric("decode_rate")
    raw = json.loads(there(asked))
    raw["model"]["read"]["config"]["num_hidden_layers"] = 4
    raw["model"]["read"]["tensors"] = []
    found = replay(read(json.dumps(raw).encode()))
    assert not found.same and found.scenario.model.startswith("bundle/") and "something else under that name" in found.notes[0]
    assert any("layers is 24 there and 4 here" in why for why in found.why)
    assert answer(asked).metric("decode_rate") == before and ir(asked.model).layers == 24


def test_a_model_and_devices_that_this_catalog_does_not_have() -> None:
    raw = json.loads(there(from_flat({"model": SMALL, "device": "GeForce RTX 4090", "others": "Tesla P40"})))
    raw["scenario"] = {"model": "future/Model-9", "system": {"device": "GeForce RTX 9090", "others": [{"device": "Tesla P400"}]}}
    known = {"GeForce RTX 9090": "GeForce RTX 4090", "Tesla P400": "Tesla P40"}
    raw["devices"] = {new: raw["devices"][old] | {"name": new} for new, old in known.items()}
    raw["model"]["name"] = "future/Model-9"
    found = replay(read(json.dumps(raw).encode()))
    assert len(found.notes) == 3 and "GeForce RTX 9090 is not known here" in found.notes[1]
    assert found.scenario.system.device.startswith("GeForce RTX 9090?base=&") and ir(found.scenario.model).layers == ir(SMALL).layers
    assert found.found.ir.parameters == ir(SMALL).parameters


def test_an_instance_of_ones_own(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    folder = home / "mine" / "instances"
    folder.mkdir(parents=True)
    row = "provider,type,device,count,ram_gb,usd_per_h,terms,date\nMe,box-1,rtx-4090,2,100,1.25,reserved,2026-01-02\n"
    (folder / "mine.csv").write_text(row, encoding="utf-8")
    raw = there(from_flat({"model": "Qwen/Qwen3-32B", "device": "GeForce RTX 4090", "count": 2, "instance": "box-1", "quant": "Q4_K_M"}))
    elsewhere(monkeypatch, home)
    found = replay(read(raw))
    assert found.same and found.scenario.system.instance is None and found.scenario.costs.usd_per_h == 1.25
    assert "reserved, 2026-01-02" in found.notes[0]


# ---------------------------------------------------------------- why numbers part


def test_another_correction_is_named_and_told_from_another_fact() -> None:
    found = replay(changed(made__correction="0123456789ab", numbers__decode_toks_sec={"p50": 1.0}))
    assert "Decode, each user: 1.00 tok/s there" in found.sentence
    assert "correction by measurements alone" in found.why[0] and "0123456789ab" in found.why[1]


def test_a_changed_fact_is_named() -> None:
    raw = json.loads(FILE)
    raw["devices"][OWN]["tdp_w"] = 1.0
    raw["model"]["config"]["hidden_size"] = 8
    raw["analytic"]["decode_toks_sec"] = raw["numbers"]["decode_toks_sec"]["p50"] = 3.0
    raw["made"] |= {"catalog": "0123", "facts_until": "2020-01-01", "own_runs": 3}
    why = replay(read(json.dumps(raw).encode())).why
    assert any("hidden_size is 8 there and 896 here" in said for said in why)
    assert any("is 1 W there and 450 W here" in said for said in why)
    assert any("2020-01-01" in said for said in why) and any("3 runs of its maker's" in said for said in why)
    assert not any("correction by measurements alone" in said for said in why)


def test_physics_alone_stays_physics_alone() -> None:
    found = replay(read(bundle(answer(from_flat({"model": SMALL, "device": OWN}), analytic=True)).to_json().encode()))
    assert found.same and found.found.version is None


# ---------------------------------------------------------------- files of strangers


@pytest.mark.parametrize(("raw", "word"), [
    (b"", "not JSON"), (b"\xff\xfe", "not JSON"), (b"[" * 100_000, "not JSON"), (b"[]", "no bundle"), (b'{"a": 1}', "no bundle"),
    (b" " * (MAX_BYTES + 1), "at most"), (b'{"format": "roofcast-bundle-9"}', "update it"), (b'{"format": NaN}', "not JSON"),
    (b'{"format": "roofcast-bundle-1"}', "made is missing"),
])  # fmt: skip
def test_what_is_no_bundle_gets_a_sentence(raw: bytes, word: str) -> None:
    with pytest.raises(ScenarioError, match=word) as caught:
        read(raw)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("changes", "word"), [
    ({"scenario__model": "Qwen/Qwen3-8B"}, "one description of the model"), ({"devices": {"x": {}}}, "lacks the facts"),
    ({"scenario__system": {"device": OWN, "count": -1}}, "count must be 1 or more"), ({"scenario__nonsense": 1}, "not a knob"),
    ({"numbers__decode_toks_sec": {"p50": "x"}}, "p50"), ({"surprise": 1}, "surprise"), ({"made__own_runs": -1}, "own_runs"),
    ({"model__config": None}, "one description"),
    ({"model__read": {"repo": "x", "revision": "y", "container": "zip", "config": {}}}, "container"),
])  # fmt: skip
def test_a_wrong_field_is_named(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ScenarioError, match=word):
        changed(**changes)


@pytest.mark.parametrize("config", [{}, {"model_type": "llama"}, {"model_type": "qwen2", "hidden_size": "x"},
                                    {**CONFIG, "num_hidden_layers": 10**9},
                                    {**CONFIG, "hidden_size": -1}, {**CONFIG, "layer_types": [["x"]]}])  # fmt: skip
def test_a_config_that_is_no_model_gets_a_sentence(config: dict[str, Any]) -> None:
    told = changed(scenario__model="a/b", model__name="a/b", model__config=config)
    with pytest.raises(RoofcastError):
        replay(told)


def test_tensors_without_sense_are_refused(hub: FakeHub) -> None:
    hub.repos["me/small"] = repo_of(CONFIG, unquantised(ir(SMALL)))
    raw = json.loads(there(from_flat({"model": fetch("me/small").id, "device": OWN})))
    raw["model"]["read"]["tensors"][0][3] = -5
    with pytest.raises(ScenarioError, match="tensor's size"):
        read(json.dumps(raw).encode())


def test_nothing_is_stored_on_a_shared_server(monkeypatch: pytest.MonkeyPatch) -> None:
    found: Replay = replay(read(FILE.encode()))
    monkeypatch.setenv("ROOFCAST_HOSTED", "1")
    with pytest.raises(CatalogError, match="Nothing is stored"):
        store(found)
    assert own_hardware.saved() == {}


def test_the_files_name() -> None:
    assert file_name(from_flat({"model": SMALL, "device": OWN})) == "roofcast-qwen2.5-0.5b-instruct-my-card.json"


def test_the_comparison_reads_a_bundle(tmp_path: Path) -> None:
    """`roofcast compare FILE FILE` takes any file with a scenario."""
    path = tmp_path / "a.json"
    path.write_text(FILE, encoding="utf-8")
    assert builds._file(str(path)) == read(FILE.encode()).asked()
