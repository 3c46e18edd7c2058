"""The hardware page: every part opens, the address names devices, one's own is described, compared, exported and imported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from core.catalog import hardware, instances, own_hardware
from core.catalog.own_hardware import FIELDS
from core.hardware_exchange import export
from pages.shared.hardware_edit import _GROUPS
from pages.shared.hardware_parts import facts_html

PAGES = Path(__file__).resolve().parents[1] / "pages"
PARTS = ["Facts", "Side by side", "Roofline", "Cloud instances", "Edit or add", "Import and export"]
OWN = "My card?base=GeForce RTX 4090&memory_bandwidth_gb_s=950"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))
    monkeypatch.delenv("ROOFCAST_HOSTED", raising=False)
    monkeypatch.setattr(st, "page_link", lambda *_, **__: None)  # it needs the frame; tests/test_browser_hardware.py follows it
    return tmp_path


def opened(view: str = "Facts", devices: list[str] | None = None, **query: str | list[str]) -> AppTest:
    page = AppTest.from_file(str(PAGES / "hardware.py"), default_timeout=60)
    page.query_params["hardware_view"] = view
    if devices:
        page.query_params["devices"] = devices
    for key, text in query.items():
        page.query_params[key] = text
    page.run()
    assert not page.exception, page.exception
    return page


def told(page: AppTest) -> str:
    return "\n".join(str(e.value) for kind in ("markdown", "caption", "warning", "info", "success") for e in page.get(kind))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("devices", [[], ["rtx-4090"], ["rtx-4090", "mi300x", "tpu-v5e", "cix-p1"], [OWN]])
def test_every_part_opens(part: str, devices: list[str]) -> None:
    assert opened(part, devices).title[0].value == "Hardware"


def test_a_link_names_devices_by_id_alias_or_whole_record() -> None:
    page = opened(devices=["rtx-4090", "h100 sxm", OWN])
    assert page.multiselect("devices").value == ["GeForce RTX 4090", "H100 SXM5 80GB", OWN]
    assert page.subheader[0].value == "GeForce RTX 4090"


def test_what_a_link_cannot_mean_is_a_sentence() -> None:
    page = opened(devices=["GTX 99999", "RTX 4090?memory_gb=-1", "rtx-4090"])
    assert page.multiselect("devices").value == ["GeForce RTX 4090"]
    assert len(page.warning) == 2
    assert "Memory must be more than 0" in told(page)


def test_the_table_is_searched() -> None:
    table = opened(hardware_text="hopper").dataframe[0].value
    assert 0 < len(table) < 20 and set(table["Vendor"]) == {"NVIDIA"}
    assert len(opened(hardware_text="no such card").info) == 1
    whole = opened().dataframe[0].value
    assert len(whole) == len(hardware.devices())


def test_every_fact_has_its_source_and_conflicts_and_guesses_show() -> None:
    device = hardware.device("mi250x")
    shown = facts_html(device)
    assert "3,277 GB/s" in shown and "another source says <b>3,200 GB/s</b>" in shown
    assert "a guess" in shown and "nobody published it" in shown


def test_what_a_source_says_twice_is_not_anothers_word() -> None:
    assert "the same source says elsewhere <b>4.60 TFLOP/s</b>" in facts_html(hardware.device("m1-7core"))
    assert "another source says <b>300 W</b>" in facts_html(hardware.device("L40S"))


def test_cloud_instances_are_listed_searched_and_looked_at() -> None:
    page = opened("Cloud instances")
    every = page.dataframe[-1].value
    assert len(every) == len(instances.instances()) and {"$/h", "Price of", "Region"} <= set(every)
    page.text_input("instance_text").input("inf2").run()
    assert set(page.dataframe[-1].value["Estimate"]) == {instances.instance("inf2.xlarge").unsupported}
    page.selectbox("rented_instance").select("inf2.xlarge").run()
    assert not page.exception and "It cannot be estimated" in told(page)
    page.text_input("instance_text").input("no such machine").run()
    assert not page.exception and "No instance is left" in told(page)


def test_what_a_record_says_is_never_markup() -> None:
    device = own_hardware.built("RTX 4090", {"arch": "<script>alert(1)</script>"})
    assert "<script>" not in facts_html(device)


def test_what_differs_stands_out() -> None:
    page = opened("Side by side", ["rtx-4090", "rtx-3090"])
    every = page.get("html")[-1].proto.body
    assert 'class="">1,008 GB/s' in every and 'class="d">936.2 GB/s' in every and 'class="">24 GB' in every
    page.toggle("hardware_differs").set_value(True).run()
    assert "24 GB" not in page.get("html")[-1].proto.body


def edited(page: AppTest, ident: str, **fields: object) -> AppTest:
    for field, amount in fields.items():
        kind = page.text_input if isinstance(amount, str) else page.number_input
        kind(f"hw-{field}-{ident}").set_value(amount)
    page.button(f"FormSubmitter:hardware-form-{ident}-Take this device").click()
    page.run()
    assert not page.exception, page.exception
    return page


def test_a_device_is_described_and_lives_in_the_session(home: Path) -> None:
    page = edited(opened("Edit or add", ["rtx-4090"]), "rtx-4090", name="My card", memory_bandwidth_gb_s=950.0)
    assert "My card is ready" in told(page)
    assert page.multiselect("devices").value == [OWN, "GeForce RTX 4090"]
    assert "memory bandwidth: 1,008 GB/s → **950 GB/s**" in told(page)
    assert not list(home.rglob("*.json"))


def test_with_consent_it_is_stored_with_versions(home: Path) -> None:
    page = opened("Edit or add", ["rtx-4090"])
    page.checkbox("store-rtx-4090").check()
    page = edited(page, "rtx-4090", name="My card", memory_bandwidth_gb_s=950.0)
    assert "Stored as version 1" in told(page)
    page.checkbox(f"store-{OWN}").check()
    page = edited(page, OWN, memory_bandwidth_gb_s=960.0)
    assert "Stored as version 2" in told(page)
    assert "950 GB/s → **960 GB/s**" in told(page)
    assert list(page.dataframe[0].value["Device"]).count("My card") == 1
    assert hardware.device("My card").memory_bandwidth_gb_s == 960
    page.button("hardware-forget").click().run()
    assert own_hardware.saved() == {}


def test_where_others_use_the_server_too_nothing_can_be_stored(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOFCAST_HOSTED", "1")
    page = opened("Edit or add", ["rtx-4090"])
    assert not page.checkbox
    edited(page, "rtx-4090", name="My card")
    assert not list(home.rglob("*"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "A new device needs name, vendor"),
        ({"name": "X", "vendor": "ACME", "arch": "A", "family": "A"}, "A new device needs class, kind"),
    ],
)
def test_a_new_device_says_what_is_missing(fields: dict[str, object], said: str) -> None:
    assert said in told(edited(opened("Edit or add"), "new", **fields))


def test_a_wrong_figure_is_one_sentence_and_the_form_stays() -> None:
    page = edited(opened("Edit or add", ["rtx-4090"]), "rtx-4090", memory_bandwidth_gb_s=-5.0)
    assert "Memory bandwidth must be more than 0 (it is -5.0)" in told(page)
    assert page.number_input("hw-memory_bandwidth_gb_s-rtx-4090").value == -5.0


def test_the_estimate_lists_ones_own_device() -> None:
    page = AppTest.from_file(str(PAGES / "frame.py"), default_timeout=60)
    page.query_params["device"] = OWN
    page.run()
    assert not page.exception and not page.warning
    assert page.selectbox("device").value == OWN
    assert "My card" in page.title[0].value


def test_a_file_is_read_shown_and_taken() -> None:
    page = opened("Import and export")
    page.file_uploader[0].upload("x.json", export([hardware.device(OWN)]).encode(), "application/json").run()
    assert "memory bandwidth 1,008 GB/s → 950 GB/s" in told(page)
    page.button("hardware-take").click().run()
    assert page.multiselect("devices").value == [OWN]
    assert json.loads(export([hardware.device(OWN)]))["devices"][0]["set"]["memory_bandwidth_gb_s"] == 950


def test_the_form_holds_every_field_so_that_an_edit_loses_none() -> None:
    shown = [field for group in _GROUPS.values() for field in group]
    assert sorted(shown) == sorted(FIELDS)
