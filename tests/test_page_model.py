"""The model page without a browser: every part opens, links are exact, a model is fetched only on a click, a token is forgotten."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from fake_hub import TOKEN, FakeHub, repo_of, unquantised
from streamlit.testing.v1 import AppTest
from test_pages import FRAME, notices, said, sentence
from test_pages import opened as estimated

from core.catalog.models import ir, models
from core.scenario import Scenario, System, Workload

SMALL = "Qwen/Qwen2.5-0.5B-Instruct"
PARTS = ["Layers", "Tensors", "KV cache", "Step by step", "Fields", "Compare"]
LOAD = Scenario(model="gpt-oss-120b", system=System(device="h100-sxm5-80gb", count=2), runtime="vllm", workload=Workload(concurrency=8))


def opened(**query: str) -> AppTest:
    """The page with this query, within the frame."""
    page = AppTest.from_file(FRAME, default_timeout=60)
    page.switch_page("model.py")
    for key, text in query.items():
        page.query_params[key] = text
    return checked(page.run())


def checked(page: AppTest) -> AppTest:
    assert not page.exception, page.exception
    return page


def title(page: AppTest) -> str:
    return page.title[0].value.replace("\\", "")


def chosen(page: AppTest) -> str:
    return str(page.selectbox("model").value)


@pytest.mark.parametrize("view", PARTS)
@pytest.mark.parametrize("model", ["gpt-oss-120b", "DeepSeek-V3", "NVIDIA-Nemotron-Nano-9B-v2", "gemma-4-E2B-it"])
def test_every_part_opens(view: str, model: str) -> None:
    page = opened(model=model, model_view=view, against="Qwen3-8B")
    assert model in title(page)


def test_the_header_holds_the_total_against_the_published_one() -> None:
    page = opened(model="qwen3 8b")
    assert title(page) == "Qwen/Qwen3-8B has 8.19 B parameters in 36 layers"
    text = said(page)
    assert "as published" in text and "Equals the published total of 8,190,735,360." in text
    assert "with the vision tower" in said(opened(model="gemma-3-27b-it"))
    labels = {button.key: button.label for button in page.button}
    assert labels["number-parameters"] == "8.19 B" and labels["number-kv"] == "144 KiB" and labels["number-weights"] == "4.68 GiB"


def test_the_form_says_what_is_weighed() -> None:
    page = opened()
    checked(page.selectbox("model").select("Qwen3-8B").run())
    checked(page.selectbox("kv_dtype").select("q8_0").run())
    labels = {button.key: button.label for button in page.button}
    assert "Qwen3-8B" in title(page) and labels["number-weights"] == "4.68 GiB" and labels["number-kv"] == "76.5 KiB"
    checked(page.selectbox("runtime").select("vLLM").run())
    assert {button.key: button.label for button in page.button}["number-weights"] == "15.3 GiB"


def test_layers_that_come_once_share_a_box_and_towers_stand_below_the_total() -> None:
    picture = drawn(opened(model="nvidia/Llama-3_3-Nemotron-Super-49B-v1"))
    assert picture.count('class="stack-group once"') == 1 and "layers 12–41" in picture and "one layer, 503 M parameters<" in picture
    groups = list(opened(model="gemma-3-27b-it", model_view="Tensors").dataframe[0].value["Group"])
    assert groups[-2:] == ["Total", "Vision tower, beside the total"]


def test_numbers_explain_themselves() -> None:
    page = opened(model="gpt-oss-120b")
    for key in ("parameters", "active", "kv", "weights"):
        checked(page.button(f"number-{key}").click().run())
        assert any("=" in block.value for block in page.code)


@pytest.mark.parametrize(("model", "word"), [("no such model at all", "No model"), ("nobody/none@123456789abc", "not fetched"),
                                             ("Qwen3-8B?nonsense=3", "no field")])  # fmt: skip
def test_a_bad_link_gets_a_sentence(model: str, word: str) -> None:
    page = opened(model=model)
    assert word in notices(page) and "Llama-3.1-8B-Instruct" in title(page)
    assert page.text_input(f"hub-text-{model}").value == model, "it can be fetched with a click"


# ---- a scenario


def test_a_scenario_is_shown_operation_by_operation() -> None:
    page = opened(**dict(parse_qsl(LOAD.to_query())), model_view="Step by step")
    text = said(page)
    assert "two H100 SXM5 80GB" in text and "Whole step" in text and "all-reduce" in text
    checked(page.button("number-op-opsum-whole-time").click().run())
    assert page.code
    checked(page.segmented_control("step_phase").set_value("prefill").run())
    assert "attention (prompt)" in said(page)
    assert page.selectbox("device").value == "H100 SXM5 80GB" and page.number_input("concurrency").value == 8


def test_what_cannot_be_asked_gets_a_sentence() -> None:
    page = opened(model="Qwen3-8B", device="RTX 4090", tp="3", model_view="Step by step")
    assert "tensor" in notices(page) and "Qwen3-8B" in title(page)


def test_a_scenario_goes_from_page_to_page() -> None:
    """Through the menu, over pages without the form, and with another model chosen on the way."""
    page = estimated(model="Qwen3-8B", device="RTX 3090", concurrency="4", flash_attention="0", threads="8")
    for name in ("model.py", "placement.py", "hardware.py", "model.py", "validation.py", "placement.py"):
        checked(page.switch_page(name).run())
    checked(page.selectbox("model").select("Qwen3-14B").run())
    checked(page.switch_page("model.py").run())
    assert "Qwen3-14B" in title(page)
    checked(page.switch_page("estimate.py").run())
    assert sentence(page).startswith("Qwen3-14B at Q4_K_M fits one RTX 3090") and not notices(page)
    assert page.number_input("concurrency").value == 4 and page.toggle("flash_attention").value is False
    assert any("threads 8" in caption.value for caption in page.sidebar.caption), "what only a link says goes along"


# ---- the Hub


def small(hub: FakeHub, **more: bool) -> str:
    hub.repos["me/small"] = repo = repo_of(models()[SMALL].config, unquantised(ir(SMALL)))
    for key, item in more.items():
        setattr(repo, key, item)
    return f"me/small@{repo.commit[:12]}"


def fetched(page: AppTest, text: str, token: str = "") -> AppTest:
    page.text_input("hub-text-").input(text)
    page.text_input("hub-token-0").input(token)
    return checked(page.button("hub-go").click().run())


def test_a_model_is_fetched_on_a_click_alone(hub: FakeHub) -> None:
    name = small(hub)
    page = opened(model="me/small")
    assert not hub.asked and "No model" in notices(page)
    page = fetched(opened(), "https://huggingface.co/me/small")
    assert chosen(page) == name and name in title(page) and "no published total" in said(page)
    asked = len(hub.asked)
    again = opened(model=name, model_view="Fields")
    assert name in title(again) and len(hub.asked) == asked, "a link to it asks nothing"
    assert "config.json" in set(again.dataframe[0].value["Origin"])


def test_nobody_reads_with_the_owners_token(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    small(hub, gated=True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    page = fetched(opened(), "me/small")
    assert "gated" in notices(page) and "Traceback" not in notices(page)
    assert set(hub.tokens) == {None}


def test_a_visitors_token_is_used_once_and_forgotten(hub: FakeHub) -> None:
    name = small(hub, gated=True)
    page = fetched(opened(), "me/small", TOKEN)
    assert chosen(page) == name and TOKEN in hub.tokens
    assert page.text_input("hub-token-0+").value == "" and page.text_input("hub-token-0+").proto.type == 1
    assert TOKEN not in str(page.session_state) and TOKEN not in str(page.query_params) and TOKEN not in said(page)


@pytest.mark.parametrize(
    ("text", "word"), [("/etc/passwd", "path"), ("", "names no model"), ("https://example.com/x", "no link to the Hub")]
)
def test_what_is_no_model_of_the_hub_gets_a_sentence(hub: FakeHub, text: str, word: str) -> None:
    page = fetched(opened(), text)
    assert word in notices(page) and not hub.asked


def test_a_fetched_model_and_one_changed_by_hand_can_be_estimated(hub: FakeHub) -> None:
    name = small(hub)
    page = fetched(opened(), "me/small")
    for asked, said_of in ((chosen(page), name), ("Qwen3-8B?num_hidden_layers=40", "Qwen3-8B?num_hidden_layers=40")):
        answer = estimated(model=asked)
        assert sentence(answer).startswith(f"{said_of.rpartition('/')[2]} at ") and not notices(answer)
        checked(answer.number_input("concurrency").set_value(4).run())
        assert sentence(answer).startswith(f"{said_of.rpartition('/')[2]} at "), "another control leaves the model alone"


# ---- by hand, and two models


def test_a_field_set_by_hand_is_marked_and_taken_back() -> None:
    page = opened(model="Qwen3-8B", model_view="Fields")
    page.text_input("by-hand-text").input("num_hidden_layers=40")
    checked(page.button("by-hand-go").click().run())
    assert chosen(page) == "Qwen/Qwen3-8B?num_hidden_layers=40" and "in 40 layers" in title(page)
    ways = page.dataframe[0].value.set_index("Field")["From"]
    assert ways["num_hidden_layers"] == "by hand" and ways["hidden_size"] == "catalog"
    page.text_input("by-hand-text").input("layers of gold")
    checked(page.button("by-hand-go").click().run())
    assert "sets no field" in notices(page)
    checked(page.button("by-hand-drop").click().run())
    assert "in 36 layers" in title(page)


def test_two_models_side_by_side() -> None:
    page = opened(model="Qwen3-8B", model_view="Compare")
    checked(page.selectbox("inspect-against").select("Qwen3-14B").run())
    assert "Qwen3-14B" in str(page.query_params["against"])
    shown = drawn(page)
    assert "<th>Qwen/Qwen3-8B</th><th>Qwen/Qwen3-14B</th>" in shown and "num_hidden_layers" in shown and 'class="d"' not in shown
    checked(page.toggle("only-differs").set_value(False).run())
    assert len(drawn(page)) > len(shown) and 'class="d"' in drawn(page)


def drawn(page: AppTest) -> str:
    return "".join(item.proto.body for item in page.get("html"))


def test_a_shared_server_asks_for_no_token(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a visitor's token opens is kept where all others find it by name."""
    monkeypatch.setenv("ROOFCAST_HOSTED", "1")
    page = opened()
    assert not [box for box in page.text_input if str(box.key).startswith("hub-token")]


def test_a_link_may_name_the_other_model_by_its_id() -> None:
    page = opened(model="Qwen3-14B", model_view="Compare", against="Qwen/Qwen3-8B")
    assert page.selectbox("inspect-against").value == "Qwen3-8B"
