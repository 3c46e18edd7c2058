"""The control that takes a pasted launch command."""

from __future__ import annotations

from test_pages import notices, opened, sentence


def test_a_command_fills_in_the_form() -> None:
    page = opened(kv_dtype="q8_0", max_context="8192")
    page.text_area("pasted").input("vllm serve Qwen/Qwen3-8B --gpu-memory-utilization 0.8 --enforce-eager --foo --async-scheduling")
    page.button("paste-fill").click().run()
    assert not page.exception and sentence(page).startswith("Qwen3-8B at BF16")
    assert page.selectbox("runtime").value == "vLLM" and page.number_input("memory_fraction").value == 0.8
    assert page.number_input("max_context").value is None and page.selectbox("kv_dtype").value == "auto"
    assert page.query_params["cuda_graphs"] == "false"
    told = " ".join(c.value for c in page.caption).replace("\\", "")
    assert "does not say on which device it runs" in told
    assert "Unknown, and so left out:** --foo" in told and "--async-scheduling: no part of the estimate" in told


def test_nonsense_changes_nothing_and_gets_a_sentence() -> None:
    page = opened()
    before = sentence(page)
    page.text_area("pasted").input("<b>rm</b> -rf *")
    page.button("paste-fill").click().run()
    assert sentence(page) == before
    assert "starts no runtime whose command line is known" in notices(page)
