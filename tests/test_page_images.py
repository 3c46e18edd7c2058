"""The form's controls for images: only of a model that reads them."""

from __future__ import annotations

from test_pages import notices, opened, sentence

SEES, BLIND = "Qwen3-VL-8B-Instruct", "Qwen3-8B"


def keys(page: object) -> set[str]:
    return {box.key for kind in ("number_input", "text_input", "selectbox") for box in getattr(page, kind)}


def test_only_a_model_with_a_tower_is_asked_for_images() -> None:
    page = opened(model=SEES, runtime="vllm", device="H100 SXM")
    assert {"images", "vision"} <= keys(page) and "image_size" not in keys(page)
    page.number_input("images").set_value(2).run()
    assert not page.exception and "image_size" in keys(page)
    page.selectbox("model").select(BLIND).run()
    assert not page.exception and not {"images", "vision", "image_size"} & keys(page)
    assert not any("vision tower" in notice for notice in (notices(page),))


def test_a_link_with_images_sets_the_controls_and_the_answer() -> None:
    without = opened(model=SEES, runtime="vllm", device="H100 SXM")
    page = opened(model=SEES, runtime="vllm", device="H100 SXM", images="3", image_size="640x480", vision="1")
    assert page.number_input("images").value == 3 and page.text_input("image_size").value == "640x480"
    assert page.selectbox("vision").value == "true"
    assert sentence(page) != sentence(without)


def test_a_size_that_is_none_gets_a_sentence() -> None:
    page = opened(model=SEES, images="1")
    page.text_input("image_size").input("huge").run()
    assert not page.exception
    assert "width x height" in notices(page) + " ".join(box.value for box in page.error)


def test_an_engine_that_loads_no_tower_refuses_images_in_a_sentence() -> None:
    page = opened(model=SEES, runtime="mlx", device="M3 Max", images="1")
    assert not page.exception
    assert "loads no vision tower" in notices(page) + " ".join(box.value for box in page.error)
