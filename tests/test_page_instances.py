"""Cloud instances on the page of the estimate: one choice fills in the machine, and another machine lets go of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

FRAME = str(Path(__file__).resolve().parents[1] / "pages" / "frame.py")


def opened(**query: str) -> AppTest:
    page = AppTest.from_file(FRAME, default_timeout=60)
    for key, text in query.items():
        page.query_params[key] = text
    page.run()
    assert not page.exception, page.exception
    return page


def machine(page: AppTest) -> tuple[object, ...]:
    return (page.selectbox("device").value, *(page.number_input(key).value for key in ("count", "ram_gb", "usd_per_h")))


def test_an_instance_fills_in_device_count_memory_and_price() -> None:
    page = opened(runtime="vLLM")
    page.selectbox("instance").select("g6e.12xlarge").run()
    assert machine(page) == ("L40S", 4, 384, 10.49264)
    page.selectbox("instance").select("none").run()
    assert machine(page) == ("L40S", 4, None, None)


@pytest.mark.parametrize("change", ["device", "count", "profile"])
def test_another_machine_lets_go_of_it(change: str) -> None:
    page = opened(runtime="vLLM", instance="g6e.12xlarge")
    assert machine(page) == ("L40S", 4, 384, 10.49264)
    if change == "device":
        page.selectbox("device").select("H100 SXM5 80GB").run()
    elif change == "count":
        page.number_input("count").set_value(2).run()
    else:
        page.selectbox("profile").select("8 × H100 SXM 80GB (HGX)").run()
    assert page.selectbox("instance").value == "none"
    assert machine(page)[3] is None


def test_one_that_cannot_be_estimated_is_a_sentence() -> None:
    page = opened(instance="inf2.xlarge")
    assert "not supported yet" in page.warning[0].value
    assert page.selectbox("instance").value == "none"
