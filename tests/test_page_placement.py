"""The placement page without a browser: it opens for one device and for many, and says what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from test_pages import notices

EIGHT = {"device": "h100-sxm5-80gb", "count": "8", "runtime": "SGLang", "quant": "FP8"}
FRAME = str(Path(__file__).resolve().parents[1] / "pages" / "frame.py")


def opened(**query: str) -> AppTest:
    page = AppTest.from_file(FRAME, default_timeout=60)
    page.switch_page("placement.py")
    for key, text in query.items():
        page.query_params[key] = text
    page.run()
    assert not page.exception
    return page


def title(page: AppTest) -> str:
    return page.title[0].value.replace("\\", "")


def words(page: AppTest) -> str:
    return " ".join(item.value for item in [*page.markdown, *page.caption]).replace("\\", "")


def grid(page: AppTest) -> str:
    return " ".join(item.proto.body for item in page.get("html"))


def test_one_card() -> None:
    page = opened()
    assert title(page).startswith("Llama-3.1-8B-Instruct on one RTX 4090: it holds ")
    assert "One RTX 4090 is enough" in words(page) and "GPU 0" in grid(page) and "GPU 1" not in grid(page)
    assert not notices(page)


def test_degrees_are_chosen_on_the_page() -> None:
    page = opened(model="Llama-3.3-70B-Instruct", device="h100-sxm5-80gb", count="8", runtime="vLLM", quant="BF16")
    assert "heads 0–7<" in grid(page)
    page.number_input("pp").set_value(2).run()
    page.number_input("tp").set_value(4).run()
    assert not page.exception
    assert "heads 0–15<" in grid(page) and "Stage 2" in grid(page) and "40 layers, 40–79" in grid(page)


def test_attention_and_feed_forward_apart() -> None:
    page = opened(
        model="Llama-3.3-70B-Instruct", device="h100-sxm5-80gb", count="8", runtime="SGLang", quant="FP8", tp="4", dp="2", mlp_tp="8"
    )
    assert page.number_input("mlp_tp").value == 8
    assert "the feed-forward part cut in 8" in words(page) and "the replicas gather their tokens" in words(page)
    assert "heads 0–15<" in grid(page) and "feed-forward columns 0–3,583<" in grid(page)
    page.number_input("again-mlp_tp").set_value(6).run()
    assert title(page) == "This cannot be laid out" and "attention's 4 times a divisor" in notices(page)
    page.number_input("mlp_tp").set_value(4).run()
    assert "Replica 2" in grid(page)
    page.number_input("mlp_tp").set_value(8).run()
    page.switch_page("model.py").run()
    assert page.number_input("mlp_tp").value == 8, "it goes with the scenario"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"model": "DeepSeek-R1", **EIGHT, "device": "h200-sxm-141gb", "tp": "1", "dp": "8", "ep": "8"}, "experts 224–255<"),
        ({"model": "DeepSeek-R1", **EIGHT, "count": "16", "runtime": "vLLM"}, "the whole KV latent"),
        ({"model": "Llama-3.3-70B-Instruct", "device": "GeForce RTX 3090", "ram_gb": "64"}, "44 whole layers, 36–79"),
        ({"model": "Llama-3.3-70B-Instruct", "device": "GeForce RTX 3090", "count": "2"}, "39 whole layers, 41–79"),
        ({"model": "Llama-3.1-8B-Instruct", **EIGHT, "count": "128", "runtime": "vLLM", "tp": "1", "dp": "128"}, "GPU 0"),
        ({"device": "Apple M3 Max (40-core GPU)"}, "GPU 0"),
        ({"device": "Ryzen 9 7950X"}, "CPU 0"),
    ],
    ids=["experts", "stages", "offload", "by-layer", "many", "unified", "cpu"],
)  # fmt: skip
def test_every_kind_of_machine(query: dict[str, str], said: str) -> None:
    page = opened(**query)
    assert said in grid(page)


def test_devices_that_a_split_leaves_idle_hold_nothing_and_are_counted_apart() -> None:
    many = {"device": "h100-sxm5-80gb", "count": "16", "runtime": "vLLM", "tp": "8"}
    page = opened(model="Llama-3.3-70B-Instruct", quant="FP8", **many)
    assert title(page).startswith("Llama-3.3-70B-Instruct on 8 of 16 H100 SXM5 80GB, 8 idle: each holds ")
    assert "GPU 7" in grid(page) and "GPU 8" not in grid(page)
    large = opened(model="Llama-3.1-405B-Instruct", quant="BF16", **many)
    assert "on each of the 8 cards in use (8 of 16 are idle), and 72.9 GiB of H100 SXM5 80GB may be used" in words(large)
    large.button("fewest-show").click().run()
    assert title(large).startswith("Llama-3.1-405B-Instruct on 16 H100 SXM5 80GB: ")


def test_a_card_whose_experts_lie_in_host_memory_holds_no_whole_layers() -> None:
    page = opened(model="gpt-oss-120b", device="RTX 4090", ram_gb="128", experts_on_cpu="36")
    assert "36 layers, 0–35, without their experts" in grid(page) and "whole layers" not in grid(page)
    assert "One device holds what is not in host memory." in words(page)


def test_what_does_not_fit_shows_what_would() -> None:
    page = opened(model="Llama-3.3-70B-Instruct", device="h100-sxm5-80gb", runtime="vLLM", quant="BF16")
    assert "more than it may take" in title(page)
    page.button("fewest-show").click().run()
    assert not page.exception
    assert "on 2 H100" in title(page) and page.number_input("count").value == 2


def test_a_bad_split_and_a_bad_link_get_a_sentence() -> None:
    page = opened(model="Llama-3.3-70B-Instruct", device="h100-sxm5-80gb", count="8", runtime="vLLM", tp="3")
    assert "must divide the 64 attention heads" in notices(page)
    assert title(opened(mlp_tp="abc")).startswith("Llama-3.1-8B")


def test_the_answer_leads_here() -> None:
    page = AppTest.from_file(FRAME, default_timeout=60).run()
    links = [item.proto.label for item in page.get("page_link")]
    assert "Which device holds what" in links
