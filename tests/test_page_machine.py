"""The form's part for machines that are put together: further cards, cables, sockets, shares, and what the page then says."""

from __future__ import annotations

from test_pages import notices, opened, said, sentence

from core import choices

QWEN = {"model": "Qwen3-32B", "device": "RTX 3090", "quant": "Q4_K_M"}
CARD = "GeForce RTX 3060 12GB"


def test_a_card_is_added_changed_and_taken_away() -> None:
    page = opened(**QWEN)
    page.selectbox("further-0-device-").select(CARD).run()
    assert sentence(page).startswith("Qwen3-32B at Q4_K_M fits one RTX 3090 and one RTX 3060 12GB with ")
    assert page.query_params["others"] == CARD
    page.number_input(f"further-0-count-{CARD}").set_value(2).run()
    assert "one RTX 3090 and two RTX 3060 12GB" in sentence(page)
    page.selectbox(f"further-0-host_link-2x {CARD}").select("oculink-2").run()
    assert page.query_params["others"] == f"2x {CARD} via oculink-2" and not notices(page)
    page.selectbox(f"further-0-device-2x {CARD} via oculink-2").select("none").run()
    assert "others" not in page.query_params and "fits one RTX 3090 with" in sentence(page)


def test_a_link_names_cards_as_people_write_them() -> None:
    page = opened(**QWEN, others="2x 3060 via tb4 + tesla p40", tensor_split="2,1,1,1")
    assert "one RTX 3090, two RTX 3060 12GB and one Tesla P40" in sentence(page) and not notices(page)
    assert page.text_input("tensor_split").value == "2,1,1,1"
    assert "no such card" in notices(opened(others="no such card"))


def test_more_layers_on_the_faster_card_are_offered() -> None:
    page = opened(**QWEN, others="RTX 3060")
    page.button("faster-split").click().run()
    assert page.selectbox("split").value == "none" and "fits one RTX 3090 with" in sentence(page)
    page.number_input("main_gpu").set_value(1).run()
    assert "one RTX 3060 12GB" in sentence(page)


def test_a_shipped_machine_has_no_further_cards() -> None:
    page = opened(**QWEN, others=CARD)
    page.selectbox("profile").select(choices.profile_names()[1]).run()
    assert "others" not in page.query_params


def test_an_egpu_says_how_long_loading_takes() -> None:
    page = opened(**QWEN, host_link="thunderbolt-4", view="Memory")
    assert page.selectbox("host_link").value == "thunderbolt-4-egpu"
    assert any(button.key == "number-loading" for button in page.button)


def test_sockets_ask_how_they_are_used() -> None:
    page = opened(model="DeepSeek-R1", device="EPYC 9654", ram_gb="768", sockets="2", quant="Q4_K_M")
    before = sentence(page)
    assert "two EPYC 9654" in before and "--numa distribute" in said(page)
    page.selectbox("numa").select("distribute").run()
    assert sentence(page) != before and "--numa distribute spreads" not in said(page)


def test_unlike_cards_have_a_bill_each() -> None:
    page = opened(**QWEN, others="RTX 3060 via oculink", view="Memory", measured_bandwidth_gb_s="850")
    assert "850 GB/s as measured" in said(page)
    assert "**GeForce RTX 3090**" in said(page) and f"**{CARD}**" in said(page)


def test_the_share_of_an_integrated_gpu() -> None:
    page = opened(model="gpt-oss-120b", device="Ryzen AI Max+ 395 (Radeon 8060S, Strix Halo)", ram_gb="128", gpu_share_gib="96")
    assert "fits one Ryzen AI Max+ 395" in sentence(page) and "share of RAM 96 GiB" in said(page)
    refused = opened(device="RTX 3090", gpu_share_gib="12")
    assert "say device_memory_gib instead" in notices(refused)
