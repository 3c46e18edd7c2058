"""`roofcast compare` and `roofcast sweep`: builds from options, links and files; text, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from core.builds import SLOTS, added, from_link, from_query, on_device, read_builds, removed, to_link
from core.catalog import hardware
from core.cli import app
from core.errors import RoofcastError, ScenarioError
from core.scenario import from_flat
from core.sweep import answer

ONE = ["--model", "llama 3.1 8b", "--gpu", "RTX 3090", "--quant", "Q4_K_M"]
HOME = from_flat({"model": "Llama-3.1-8B", "device": "GeForce RTX 3090", "quant": "Q4_K_M"})


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_the_first_build_is_the_options_alone() -> None:
    found = run("compare", *ONE, "quant=Q8_0", "--explain", "decode_toks_sec")
    assert found.exit_code == 0, found.output
    assert found.output.startswith("A writes fastest for each user")
    assert "Why the speed for each user: A " in found.output and "Q4_K_M → Q8_0" in found.output
    assert "A: speed interpolated" in found.output


def test_json_holds_what_the_answers_hold() -> None:
    found = run("compare", *ONE, "gpu=RTX 4090,users=8", "--json", "--api-input", "0.1", "--api-output", "0.4", "--order", "users,device")
    told = json.loads(found.output)
    cell = told["lines"]["decode_toks_sec"]["builds"]["A"]
    assert cell["p50"] == pytest.approx(answer(HOME).metric("decode_rate"), rel=1e-5)
    assert cell["p10"] < cell["p50"] < cell["p90"]
    assert [bar["inputs"] for bar in told["explained"]["bars"]] == [["users"], ["device"]]
    assert told["explained"]["metric"] == "output_toks_sec" and not told["explained"]["averaged_over_orders"]
    assert {line["build"] for line in told["api"]} == {"A", "B"} and told["builds"][1]["scenario"]["workload"]["concurrency"] == 8


def test_csv_has_a_row_a_number_and_build(tmp_path: Path) -> None:
    out = tmp_path / "builds.csv"
    assert run("compare", *ONE, "quant=Q8_0", "--csv", str(out)).exit_code == 0
    rows = list(csv.DictReader(out.open()))
    decode = [row for row in rows if row["metric"] == "decode_toks_sec"]
    assert [row["build"] for row in decode] == ["A", "B"] and decode[0]["best"] == "True" and decode[1]["best"] == "False"
    assert [row["value"] for row in rows if row["metric"] == "quant"] == ["Q4_K_M", "Q8_0"]


def test_sweep_of_two_builds_says_where_they_cross() -> None:
    found = run("sweep", *ONE, "--over", "users=16..64", "--against", "runtime=vllm,quant=AWQ-INT4")
    assert found.exit_code == 0, found.output
    assert ("A: Speed for each user" in found.output and "too close to call" in found.output) or "A tie from" in found.output


def test_sweep_over_two_knobs() -> None:
    found = run("sweep", *ONE, "--over", "users=1,8", "--over", "quant=Q4_K_M,Q8_0", "--metric", "ttft")
    assert "A: First token after; users at once ↓ quantisation →" in found.output
    told = json.loads(run("sweep", *ONE, "--over", "users=1,8", "--over", "quant=Q4_K_M,Q8_0", "--json").output)
    assert [(row["concurrency"], row["quant"]) for row in told["records"]] == [(u, q) for u in (1, 8) for q in ("Q4_K_M", "Q8_0")]


def test_sweep_csv_to_standard_output() -> None:
    rows = list(csv.DictReader(io.StringIO(run("sweep", *ONE, "--over", "runtime=llama.cpp,vLLM", "--csv", "-").output)))
    assert rows[0]["fits"] == "True" and float(rows[0]["decode_toks_sec_p10"]) < float(rows[0]["decode_toks_sec"])
    assert rows[1]["fits"] == "False" and "vLLM does not run" in rows[1]["error"] and rows[1]["decode_toks_sec"] == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compare", *ONE], "Name two to 4 builds"),
        (["compare", *ONE, *["quant=Q8_0"] * 5], "Name two to 4 builds"),
        (["compare", *ONE, "no-such-file.json"], "is no file, no link"),
        (["compare", *ONE, "count=two"], "must be a whole number"),
        (["compare", *ONE, "quant=Q8_0", "--explain", "colour"], "no metric 'colour'"),
        (["compare", *ONE, "?model=no+such+model+at+all"], "model"),
        (["sweep", *ONE], "Say one knob to sweep"),
        (["sweep", *ONE, "--over", "users", "--metric", "colour"], "no metric 'colour'"),
        (["sweep", *ONE, "--over", "colour=1"], "cannot be swept"),
    ],
)  # fmt: skip
def test_what_cannot_be_gets_a_sentence(words: list[str], said: str) -> None:
    found = run(*words)
    assert found.exit_code == 2 and said in found.output and "Traceback" not in found.output


# ---- builds in links and files


def test_a_link_holds_all_builds() -> None:
    builds = [HOME, HOME.with_(device="my card?base=GeForce RTX 4090&memory_bandwidth_gb_s=950", arrival="static", concurrency=4)]
    assert from_link(to_link(builds)) == (builds, [])
    assert tuple(to_link([HOME] * 4)) == SLOTS


def test_a_broken_build_of_a_link_is_left_out() -> None:
    found, wrong = from_link({"a": HOME.to_query(), "b": "model=x&device=zzz", "c": "tp=abc"})
    assert found == [HOME] and len(wrong) == 2 and wrong[0].startswith("Build B of the link was left out: ")


def test_an_address_leaves_out_what_a_page_opens_with() -> None:
    asked = from_query("model=Qwen3-8B&arrival=One+batch&concurrency=4&view=Memory&quant=auto")
    assert asked.system.device == "GeForce RTX 4090" and asked.workload.arrival == "static" and asked.deployment.quant is None
    assert from_query("profile=dual-3090").system.count == 2


def test_files_of_scenarios(tmp_path: Path) -> None:
    whole, part = tmp_path / "estimate.json", tmp_path / "scenario.json"
    whole.write_text(run("estimate", *ONE, "--json").output)
    part.write_text(HOME.with_(concurrency=2).to_json())
    assert [one.workload.concurrency for one in read_builds([str(whole), str(part)], {})] == [1, 2]
    broken = tmp_path / "broken.json"
    for text in ("[1]", "{", '{"colour": 1}', '{"scenario": 3}'):
        broken.write_text(text)
        with pytest.raises(RoofcastError):
            read_builds([str(broken), str(part)], {})


def test_a_machine_that_a_build_names_replaces_the_common_one() -> None:
    common = {"model": "llama 3.1 8b", "profile": "dual-3090"}
    one, other = read_builds(["gpu=RTX 4090", "system=mac-studio-m3-ultra"], common)
    assert one.system.profile is None and one.system.device == "GeForce RTX 4090" and other.system.profile == "mac-studio-m3-ultra"


def test_a_link_of_too_many_fields_is_refused() -> None:
    with pytest.raises(ScenarioError, match="too many fields"):
        from_query("&".join(f"x{n}=1" for n in range(200)))


def test_the_same_question_on_another_device() -> None:
    """What only the old machine had is left open, and a runtime that does not suit the new one gives way."""
    asked = HOME.with_(count=2, pp=2, ram_gb=64, runtime="vllm", quant="FP8", device="H100 SXM5 80GB")
    mac = on_device(asked, hardware.device("Apple M4 Max"))
    assert (mac.system.count, mac.system.ram_gb, mac.runtime, mac.deployment.quant, mac.deployment.pp) == (1, None, "llama.cpp", None, None)
    card = on_device(asked, hardware.device("RTX 4090"))
    assert (card.system.count, card.runtime, card.deployment.quant) == (2, "vllm", "FP8")


def test_builds_are_added_and_removed() -> None:
    four = [HOME.with_(concurrency=n) for n in range(1, 5)]
    assert added(four[:1], [four[1]]) == (four[:2], 1)
    assert added(four[:2], [four[0]]) == (four[:2], 0), "what is there is not added twice"
    more = HOME.with_(concurrency=9)
    assert added(four, [more]) == ([*four[:3], more], 3)
    assert removed(four, 0, 2) == (four[1:], 1) and removed(four, 2, 2) == ([*four[:2], four[3]], 0) and removed(four, 3, 0)[1] == 0
