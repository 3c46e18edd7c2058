"""Points of memory: what a row asks, what cannot be asked, and the errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import RunError
from core.memory_check import check, compare, summary, table
from core.memory_points import point_of, read_points, read_run_peaks
from core.scenario import from_flat
from core.units import GIB

LOG = {
    "source": "a log", "source_path": "", "model_id": "Qwen3 235B A22B", "quant": "IQ3_K - 3.4325 bpw", "kv_dtype": "q8_0/q8_0",
    "backend": "ik_llama.cpp", "backend_version": "", "gpu_name": "2x NVIDIA GeForce RTX 4090", "gpu_count": "2", "tp": "",
    "context_tokens": "32768", "batch_size": "1", "measured_kind": "compute_buffer", "value_gib": "2.4434",
    "notes": "largest per-GPU; CUDA0; CUDA1; n_ctx=32768; n_batch=4096; n_ubatch=4096; flash_attn=1; mla_attn=0; (3.903 BPW)",
}  # fmt: skip


def test_a_log_line_becomes_a_scenario() -> None:
    point = point_of(LOG)
    deploy = point.scenario.deployment
    assert (point.kind, point.runtime, point.backend, point.measured) == ("compute", "ik_llama.cpp", "cuda", 2.4434 * GIB)
    assert (deploy.micro_batch, deploy.max_context, deploy.flash_attention, deploy.mla_cache) == (4096, 32768, True, "full")


RIG = {
    **LOG, "run_id": "abc", "origin": "a rig", "run_date": "2026-06", "source": "LottoLottoLotto/4x3090-llm-benchmarks", "backend": "vllm",
    "model_id": "Qwen3.6-27B", "quant": "autoround-int4", "kv_dtype": "", "gpu_name": "NVIDIA GeForce RTX 3090 24GB", "tp": "2",
    "measured_kind": "total_reserved", "value_gib": "20.8", "notes": "summed over GPUs; mem util=0.9; spec=None",
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "cards", "copies"), [("x#sweep0622/a", 1, 1), ("x#vllm026-rs/a", 1, 1), ("x#orch/a", 4, 2), ("x#exl3-ab/a", 2, 1)]
)
def test_a_rigs_figure_is_of_one_card_of_all_or_of_copies(path: str, cards: int, copies: int) -> None:
    point = point_of({**RIG, "source_path": path})
    assert (point.cards, point.copies) == (cards, copies)
    assert (point.run_id, point.origin, point.date, point.path) == ("abc", "a rig", "2026-06", path)


def test_copies_hold_the_model_each_and_one_spread_model_once() -> None:
    alone = replace(
        point_of({**RIG, "source_path": "x#orch/a"}),
        kind="peak",
        scenario=from_flat({"model": "Qwen/Qwen3-8B", "device": "RTX 4090", "device_memory_gib": 1000}),
    )
    spread, copied, one = (compare(replace(alone, cards=cards, copies=copies)) for cards, copies in ((4, 1), (4, 4), (1, 1)))
    assert copied.ours == pytest.approx(4 * one.ours) and copied.exact == pytest.approx(4 * one.exact)
    assert one.ours < spread.ours < copied.ours and spread.exact == pytest.approx(one.exact)


def test_of_a_set_share_nothing_is_estimated() -> None:
    taken = compare(point_of({**RIG, "source_path": "x#sweep0622/a"}))
    assert taken.exact == taken.ours


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"notes": "FLAG"}, "flagged"),
        ({"model_id": "Models"}, "No model"),
        ({"measured_kind": "weights_buffer", "notes": "GPU-resident part only"}, "placed by hand"),
        ({"measured_kind": "kv_buffer", "model_id": "DeepSeek V3 0324", "notes": "CUDA0; n_ctx=512"}, "what its cache keeps"),
        ({"value_gib": "0"}, "positive"),
        ({"source": "noonghunna/club-3090"}, "rounded"),
    ],
)
def test_what_cannot_be_asked_says_why(change: dict[str, str], reason: str) -> None:
    with pytest.raises(RunError, match=reason):
        point_of({**LOG, **change})


def test_the_corpus_has_points_of_every_kind() -> None:
    rows = read_points()
    assert {row["measured_kind"] for row in rows} == {
        "weights_buffer", "kv_buffer", "compute_buffer", "process_peak", "total_reserved", "ram_peak",
    }  # fmt: skip
    assert len(rows) > 1400 and any(row["engine"] == "mlx" for row in read_run_peaks())


def test_errors_are_told_by_kind_and_what_was_left_out_by_reason() -> None:
    found = check([LOG, {**LOG, "model_id": "Models"}])
    assert len(found.compared) == 1 and abs(found.compared[0].error) < 0.05
    assert sum(found.left_out.values()) == 1
    assert "compute" in table(found) and "left out" in table(found)


def test_summary_counts_sizes_and_keeps_the_sign_of_the_bias() -> None:
    found = summary([-0.02, -0.08, 0.2])
    assert (found["n"], found["median"], found["bias"]) == (3, pytest.approx(8), pytest.approx(-2))
    assert (found["within_5"], found["within_10"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_a_folder_without_points_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"memory\.parquet"):
        read_points(tmp_path)
