"""A user's own devices: a name that is the whole record, refused in a sentence where it is wrong, stored only where one may."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import choices
from core.catalog import hardware, own_hardware
from core.catalog.hardware import READ_SHARE
from core.catalog.own_hardware import FIELDS, built, forget, saved, saved_named, store, versions, written_out
from core.cli_options import read_scenario
from core.errors import CatalogError
from core.estimate import estimate
from core.quantity import value
from core.units import GB

NEW = {"name": "Box", "vendor": "ACME", "device_class": "datacenter", "kind": "gpu", "arch": "A1", "family": "A1",
       "memory_gb": 48, "memory_bandwidth_gb_s": 900, "bf16_tflops": 200, "fp16_tflops": 200, "int8_tops": 400}  # fmt: skip


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))
    monkeypatch.delenv("ROOFCAST_HOSTED", raising=False)
    return tmp_path


def test_a_changed_figure_is_the_users_and_the_rest_stays_the_bases() -> None:
    base, found = hardware.device("RTX 4090"), hardware.device("RTX 4090?memory_bandwidth_gb_s=950")
    assert (found.name, found.memory_bandwidth_gb_s, found.fp16_tflops) == (f"{base.name}, changed", 950, base.fp16_tflops)
    changed, kept = found.fact("memory_bandwidth_gb_s"), found.fact("fp16_tflops")
    assert changed is not None and changed.kind == "user"
    assert kept is not None and kept.source == base.fact("fp16_tflops").source  # type: ignore[union-attr]
    assert own_hardware.base_of(found) == base


def test_guesses_and_disagreements_about_a_changed_figure_are_gone() -> None:
    base = next(d for d in hardware.devices().values() if d.alternatives and d.alternatives[0].field in FIELDS)
    field = base.alternatives[0].field
    found = built(base.name, {field: getattr(base, field) * 1.5})
    assert not [other for other in found.alternatives if other.field == field]
    assert field not in found.guess and field not in found.notes


def test_what_follows_a_changed_figure_is_unknown_again() -> None:
    base = hardware.device("H100 SXM")
    assert base.memory_usable_gib is not None
    assert built(base.name, {"memory_gb": 96}).memory_usable_gib is None
    assert built(base.name, {"memory_gb": 96, "memory_usable_gib": 95}).memory_usable_gib == 95


def test_one_name_however_it_is_written() -> None:
    first, second = hardware.device("4090?memory_gb=48&name=My card"), hardware.device("My card?base=rtx-4090&memory_gb=48")
    assert first == second and first.id == "My card?base=GeForce RTX 4090&memory_gb=48"
    assert hardware.device("4090?memory_gb=48").id == "GeForce RTX 4090?memory_gb=48"


def test_nothing_changed_is_the_shipped_device() -> None:
    base = hardware.device("RTX 4090")
    assert built("4090", {"memory_gb": "24"}) == base
    assert written_out("4090?") == base


@given(
    bandwidth=st.floats(1, 1e5), memory=st.floats(1, 1e4), name=st.text("aZ0 ,()/&=+%ü#;", min_size=1, max_size=20).filter(str.strip),
    peak=st.none() | st.floats(1, 1e5), unified=st.booleans(),
)  # fmt: skip
def test_the_name_is_the_whole_record(bandwidth: float, memory: float, name: str, peak: float | None, unified: bool) -> None:
    fields = {"name": name, "memory_bandwidth_gb_s": bandwidth, "memory_gb": memory, "bf16_tflops": peak, "unified": unified}
    for base in ("RTX 4090", ""):
        found = built(base, {**NEW, **fields} if not base else fields)
        again = written_out(found.id)
        assert again.id == found.id
        assert again.name == found.name == name.strip()
        assert again.memory_bandwidth_gb_s == pytest.approx(bandwidth, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("RTX 4090?memory_bandwidth_gb_s=-1", "Memory bandwidth must be more than 0"),
        ("RTX 4090?memory_bandwidth_gb_s=fast", "Memory bandwidth must be a number"),
        ("RTX 4090?memory_bandwidth_gb_s=inf", "Memory bandwidth must lie between"),
        ("RTX 4090?memory_bandwidth_gb_s=nan", "Memory bandwidth must"),
        ("RTX 4090?memory_bandwidth_gb_s=", "Memory bandwidth is missing"),
        ("RTX 4090?memory_gb=", "Memory is missing"),
        ("RTX 4090?launch_year=1.5", "Year must be a whole number"),
        ("RTX 4090?device_class=boat", "Class must be one of"),
        ("RTX 4090?interconnect=string", "No link 'string'"),
        ("RTX 4090?source=me", "has no field 'source'"),
        ("RTX 4090?name=two%0Alines", "Name must be a line"),
        ("RTX 4091?memory_gb=3", "No device"),
        ("?name=x", "A new device needs vendor, class, kind, architecture, kernel family"),
        ("RTX 4090?" + "&".join(f"memory_gb={n}" for n in range(99)), "too many fields"),
    ],
)
def test_what_is_wrong_is_one_sentence(name: str, said: str) -> None:
    with pytest.raises(CatalogError, match=r"^[^\n]*$") as error:
        hardware.device(name)
    assert said in str(error.value)


def test_a_new_device_answers_an_estimate() -> None:
    device = built("", NEW)
    asked = read_scenario({"model": "llama 3.1 8b", "device": device.id, "runtime": "llama.cpp"})
    assert asked.system.device == device.id
    slow = estimate(asked)
    fast = estimate(asked.with_(device=built("", {**NEW, "memory_bandwidth_gb_s": 1800}).id))
    assert fast.metric("decode_rate") > slow.metric("decode_rate") > 0


def test_a_measured_bandwidth_stands_for_the_datasheets_figure() -> None:
    base = hardware.device("RTX 4090")
    found = built(base.name, {"measured_bandwidth_gb_s": 921})
    fact = found.fact("memory_bandwidth_gb_s")
    assert fact is not None and fact.kind == "user" and "921" in str(fact.source)
    assert value(fact) == pytest.approx(921 / READ_SHARE * GB)
    assert value(fact) == pytest.approx(base.memory_bandwidth_gb_s * GB, rel=0.02)  # 921 is what a sound RTX 4090 reads


def test_stored_devices_have_versions_and_answer_to_their_name(home: Path) -> None:
    first = built("RTX 4090", {"name": "My card", "memory_bandwidth_gb_s": 950})
    second = built("RTX 4090", {"name": "My card", "memory_bandwidth_gb_s": 960})
    assert [store(first), store(first), store(second)] == [1, 1, 2]
    assert hardware.device("my CARD").memory_bandwidth_gb_s == 960
    assert [version.device for version in versions("My card")] == [first.id, second.id]
    assert choices.device_names()[0] == second.id
    assert choices.exact("device", "My card") == second.id
    forget("My card")
    assert saved_named("My card") is None
    with pytest.raises(CatalogError, match="No device"):
        hardware.device("My card")


def test_the_name_of_a_shipped_device_is_refused(home: Path) -> None:
    with pytest.raises(CatalogError, match="another name"):
        store(built("RTX 4090", {"name": "rtx4080", "memory_gb": 20}))
    with pytest.raises(CatalogError, match="shipped as it is"):
        store(hardware.device("RTX 4090"))


def test_where_strangers_share_the_server_nothing_is_stored_or_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = built("RTX 4090", {"name": "My card", "memory_gb": 48})
    store(mine)
    monkeypatch.setenv("ROOFCAST_HOSTED", "1")
    assert saved() == {}
    with pytest.raises(CatalogError, match="Nothing is stored here"):
        store(mine)
    assert hardware.device(mine.id) == mine  # its link still works


def test_a_bad_file_is_a_sentence_and_the_rest_still_reads(home: Path) -> None:
    store(built("RTX 4090", {"name": "Good", "memory_gb": 48}))
    for name, text in {"a": "{", "b": "[]", "c": '[{"saved":"2026-01-01T00:00:00Z","device":"RTX 4090?memory_gb=-1"}]'}.items():
        (home / "hardware" / f"{name}.json").write_text(text)
    own_hardware._load.cache_clear()
    assert list(saved()) == ["Good"]
    assert len(own_hardware.problems()) == 3
