"""The nearest measured runs: none nearer is passed over, units, own runs, and points beside a line."""

import math

import pytest
from test_corpus import put

from core import distance, evidence
from core.calibrate import in_effect
from core.estimate import estimate
from core.evidence import beside, nearest
from core.scenario import from_flat
from core.units import GIB

ASKED = from_flat({"model": "Qwen/Qwen3-8B", "device": "H100 SXM5 80GB", "runtime": "vllm", "quant": "FP8", "concurrency": 8,
                   "prompt_tokens": 1024, "output_tokens": 256})  # fmt: skip


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's own folder of runs."""
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))
    return tmp_path / "runs" / "mine"


@pytest.fixture
def no_own(tmp_path, monkeypatch):
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))


def test_none_nearer_is_passed_over(no_own):
    index, asked = evidence._index(evidence._stamp()), distance.configuration_of(ASKED)
    known = {place: parts for place, _, parts in evidence._configurations(index, asked)}
    best: dict = {}
    for place, row, run in evidence._runs_of(index, list(known)):
        found = evidence._found(ASKED, asked, row, run, known[place])
        if found.key not in best or found.order < best[found.key]:
            best[found.key] = found.order
    assert len(best) > 1000
    assert [(run.distance, run.run_id) for run in nearest(ASKED, 12)] == sorted(best.values())[:12]


def test_nearest_are_explained_and_different(no_own):
    found = nearest(ASKED)
    assert len(found) == 5
    assert [run.distance for run in found] == sorted(run.distance for run in found)
    for run in found:
        assert run.distance == pytest.approx(sum(item.distance for item in run.differences))
        assert run.measured and set(run.ratios) <= set(run.measured) | {"prefill_rate"}
        assert all(0.05 < ratio < 20 for ratio in run.ratios.values())
        assert run.source and run.licence and run.url
    assert len({(run.what, run.source, tuple(sorted(run.measured))) for run in found}) > 2


def test_own_run_is_the_nearest_at_once(own):
    before = nearest(ASKED)
    assert before[0].distance > 0
    put(own, {"tpot_ms_p50": "8", "ttft_ms_p50": "50", "vram_peak_gib": "70"})
    run = nearest(ASKED)[0]
    assert (run.distance, run.differs, run.source, run.url, run.licence) == (0, "nothing that counts", "ours", None, "your own")
    assert run.same_configuration
    assert run.measured == {"tpot": 0.008, "ttft": 0.05, "memory_peak": 70 * GIB}
    assert run.what == "Qwen3-8B FP8 on H100 SXM5 80GB, vLLM"
    assert 0.2 < run.ratios["tpot"] < 5


def test_points_of_a_sweep_count_once(own):
    put(own, *({"concurrency": str(users), "tpot_ms_p50": str(8 + users)} for users in (1, 2, 4, 8, 16)))
    ours = [run for run in nearest(ASKED) if run.source == "ours"]
    assert [run.scenario.workload.concurrency for run in ours] == [8]


def test_speculative_runs_are_no_evidence(own):
    put(own, {"notes": "SPECDEC draft of 4"})
    assert all(run.source != "ours" for run in nearest(ASKED))


def test_a_run_kept_from_fitting_is_further_and_says_why(own):
    put(own, {"fit": False, "fit_reason": "the card was throttled"})
    run = next(run for run in nearest(ASKED) if run.source == "ours")
    assert run.distance == distance.DOUBT and "the card was throttled" in run.differs and not run.same_configuration


@pytest.mark.parametrize(
    ("flag", "reason", "said"),
    [
        ("low_bw_util<8%; repeats differ", "flagged", "below 8 % of the memory bandwidth; repeats differ"),
        (None, "the card was throttled", "the card was throttled"),
        (None, None, ""),
    ],
)
def test_doubt_is_told_in_words(flag, reason, said):
    assert evidence._doubt({"sanity_flag": flag, "fit_reason": reason}) == said


def test_rates_are_of_one_sequence_and_one_system():
    row = dict.fromkeys((*evidence.METRIC_COLUMNS, "notes", "model_id"))
    row |= {"decode_toks_sec": 80.0, "output_toks_sec": 800.0, "prefill_toks_sec": 9000.0}
    batch = evidence.Run(ASKED, "both", systems=2, decode_is="batch")
    assert evidence._measured(row, batch) == {"decode_rate": 10.0, "output_rate": 400.0}
    whole = evidence.Run(ASKED, "both", systems=2, decode_is="system")
    assert evidence._measured(row, whole)["decode_rate"] == 5.0
    alone = evidence.Run(ASKED.with_(concurrency=1), "both")
    assert evidence._measured(row, alone)["prefill_rate"] == 9000.0


def test_points_beside_a_line(own):
    put(own, *({"concurrency": str(users), "tpot_ms_p50": "10"} for users in (2, 32)), {"prompt_tokens": "16384"}, {"quant": "BF16"})
    users = sorted((point["users"], point["decode_rate"]) for point in beside(ASKED, "users") if point["source"] == "ours")
    assert users == [(2, 100.0), (32, 100.0)]
    assert all(math.isnan(point["ttft"]) for point in beside(ASKED, "users") if point["source"] == "ours")
    prompts = [point["prompt"] for point in beside(ASKED, "prompt") if point["source"] == "ours"]
    assert prompts == [16384]


def test_points_beside_a_line_name_their_source_and_what_differs(own):
    put(own, {"concurrency": "2", "tpot_ms_p50": "10", "ttft_ms_p50": "80"}, {"concurrency": "4", "prompt_tokens": "2048"})
    two, four = sorted((point for point in beside(ASKED, "users") if point["source"] == "ours"), key=lambda point: point["users"])
    assert (two["decode_rate"], two["ttft"], two["differs"]) == (100.0, 0.08, "nothing that counts")
    assert "2,048 instead of 1,024" in four["differs"]


def test_no_point_where_load_or_configuration_is_another(own):
    put(own, {"prompt_tokens": "16384"}, {"quant": "BF16"}, {"gpu_count": "2"}, {"fit": False, "fit_reason": "the card was throttled"})
    assert not [point for point in beside(ASKED, "users") if point["source"] == "ours"]


def test_no_point_of_another_split_of_the_same_cards(own):
    put(own, {"gpu_count": "2", "tp": "2"})
    two = ASKED.with_(count=2, tp=2)
    assert [point for point in beside(two, "users") if point["source"] == "ours"]
    assert not [point for point in beside(ASKED.with_(count=2, tp=1, dp=2), "users") if point["source"] == "ours"]


def test_ours_is_what_we_say_of_the_run(own):
    put(own, {"tpot_ms_p50": "8", "ttft_ms_p50": "50"})
    analytic, corrected = nearest(ASKED)[0], nearest(ASKED, corrected=True)[0]
    assert analytic.ours == pytest.approx({name: estimate(analytic.scenario).metric(name) for name in ("tpot", "ttft")})
    known = estimate(analytic.scenario, in_effect())  # the run is one's own, so that it shifts what we say
    assert corrected.ours == pytest.approx({name: known.metric(name) for name in ("tpot", "ttft")}, rel=1e-6)
    assert corrected.ours != analytic.ours
    assert corrected.distance == analytic.distance and corrected.measured == analytic.measured


def test_link_to_the_very_file_where_a_commit_is_named():
    home = "https://github.com/ROCm/vllm"
    assert evidence._link("ROCm/vllm@040de12d45c1:docs/dev-docker/README.md", home) == f"{home}/blob/040de12d45c1/docs/dev-docker/README.md"
    assert evidence._link("README.md", home) == home
    assert evidence._link("ROCm/vllm@040de12d45c1:a b.md#x", home) == home
