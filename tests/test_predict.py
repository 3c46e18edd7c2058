"""A file of runs → the same rows with predictions. The rows here are invented (synthetic)."""

import csv
import gzip
import random

import pytest

import core.batch
import core.calibrate
from core import predict
from core.errors import RunError
from core.predict import PREDICTION_COLUMNS, SUPPORT_COLUMN, predict_file
from core.runs import METRIC_COLUMNS

HEADER = [
    "source",
    "model_id",
    "model_name_raw",
    "quant",
    "runtime",
    "runtime_version",
    "gpu_name",
    "gpu_count",
    "cpu_name",
    "tp",
    "load_kind",
    "concurrency",
    "prompt_tokens",
    "output_tokens",
    "context_depth",
    *METRIC_COLUMNS,
    "sanity_flag",
    "notes",
    "my_own",
]


def row(**cells):
    base = {
        "source": "synthetic",
        "model_id": "Qwen/Qwen3-8B",
        "quant": "FP8",
        "runtime": "vllm",
        "gpu_name": "H100 80GB SXM",
        "gpu_count": "1",
        "tp": "1",
        "load_kind": "concurrency",
        "concurrency": "8",
        "prompt_tokens": "1024",
        "output_tokens": "256",
        "my_own": ' 007, "x" ',
    }
    return {**base, **cells}


ROWS = [
    row(ttft_ms_p50="100.50", tpot_ms_p50="9", output_toks_sec="800"),
    row(
        runtime="llama.cpp",
        quant="Q4_K_M",
        runtime_version="CUDA b6000",
        gpu_name="RTX 3090",
        load_kind="static_batch",
        concurrency="1",
        output_tokens="",
        context_depth="0",
        prefill_toks_sec="3000.10",
    ),
    row(
        runtime="llama.cpp",
        quant="Q4_K_M",
        runtime_version="CUDA b6000",
        gpu_name="RTX 3090",
        load_kind="static_batch",
        concurrency="1",
        prompt_tokens="",
        output_tokens="128",
        context_depth="0",
        decode_toks_sec="100",
    ),
    row(prompt_tokens="-3", ttft_ms_p50="5"),
    row(concurrency="eight"),
    row(model_id="nobody/unheard-of-7b", notes="line one\nline two"),
    row(ttft_ms_p50="77"),
]


def write(path, rows, header=HEADER):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(path):
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "rt", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def fake(monkeypatch):
    """An estimate whose figures say which scenario they are of; counts its calls."""
    calls = []

    def numbers(scenario):
        calls.append(scenario)
        load = scenario.workload
        if load.prompt_tokens == 666:
            return "This split is not possible."
        return {
            "ttft": load.prompt_tokens / 1e4,
            "tpot": 0.01,
            "latency": 2.0,
            "prefill_rate": 1e4,
            "decode_rate": 100.0,
            "output_rate": 90.0 * load.concurrency,
            "total_rate": 500.0,
            "memory_peak": 2.0**34,
            "power": float("nan"),
        }

    monkeypatch.setattr(core.calibrate, "in_effect", lambda: None)
    monkeypatch.setattr(core.batch, "numbers_of", lambda scenarios, *, strict: [numbers(s) for s in scenarios])
    return calls


def predictions(rows):
    return [{k: v for k, v in r.items() if k.startswith("pred_") or k == "error"} for r in rows]


def test_rows_come_back_in_order_with_their_cells_untouched(tmp_path, fake):
    source = write(tmp_path / "runs.csv", ROWS)
    before = source.read_bytes()
    summary = predict_file(source, tmp_path / "out.csv")
    out = read(tmp_path / "out.csv")
    assert len(out) == summary.rows == len(ROWS)
    for given, got in zip(read(source), out, strict=True):
        assert {column: got[column] for column in HEADER} == given
    assert source.read_bytes() == before
    assert list(out[0]) == [*HEADER, *PREDICTION_COLUMNS, SUPPORT_COLUMN, "error"]


def test_values_stand_in_the_columns_units(tmp_path, fake):
    predict_file(write(tmp_path / "runs.csv", ROWS), tmp_path / "out.csv")
    first = read(tmp_path / "out.csv")[0]
    assert first["pred_ttft_ms_p50_p50"] == first["pred_ttft_ms_mean_p50"] == "102.4"
    assert first["pred_tpot_ms_p50_p50"] == "10"
    assert first["pred_latency_ms_mean_p50"] == "2000"
    assert first["pred_output_toks_sec_p50"] == "720"
    assert first["pred_vram_peak_gib_p50"] == "16"
    assert first["pred_power_w_p50"] == ""  # unknown stays empty
    assert first["pred_ttft_ms_p95_p50"] == first["pred_latency_ms_p99_p50"] == ""  # no tail is invented
    assert first["error"] == ""


def test_metrics_of_a_phase_that_was_not_timed_stay_empty(tmp_path, fake):
    predict_file(write(tmp_path / "runs.csv", ROWS), tmp_path / "out.csv")
    _, prefill, decode, *_ = read(tmp_path / "out.csv")
    assert prefill["pred_prefill_toks_sec_p50"] and not prefill["pred_decode_toks_sec_p50"]
    assert decode["pred_decode_toks_sec_p50"] and not decode["pred_ttft_ms_p50_p50"]


def test_bad_rows_say_why_and_the_others_are_predicted(tmp_path, fake):
    summary = predict_file(write(tmp_path / "runs.csv", [*ROWS, row(prompt_tokens="666")]), tmp_path / "out.csv")
    out = read(tmp_path / "out.csv")
    assert "prompt_tokens must be between" in out[3]["error"]
    assert "concurrency must be a number" in out[4]["error"]
    assert "unheard-of" in out[5]["error"]
    assert out[7]["error"] == "This split is not possible."
    assert all(not v for k, v in out[3].items() if k.startswith("pred_"))
    assert summary.predicted == 4 and sum(summary.errors.values()) == 4
    assert out[6]["pred_ttft_ms_p50_p50"]


def test_no_metric_is_read(tmp_path, fake):
    """Blanked, shuffled and senseless metrics and flags, and files without the columns, predict the same."""
    predict_file(write(tmp_path / "a.csv", ROWS), tmp_path / "a_out.csv")
    wanted = predictions(read(tmp_path / "a_out.csv"))
    shuffler = random.Random(1)
    blank = [{**r, **dict.fromkeys([*METRIC_COLUMNS, "sanity_flag"], "")} for r in ROWS]
    odd = [{**r, **{m: shuffler.choice(["9", "1e9", "-4", "x"]) for m in METRIC_COLUMNS}, "sanity_flag": "!"} for r in ROWS]
    for name, rows, header in (
        ("blank", blank, HEADER),
        ("odd", odd, HEADER),
        ("without", ROWS, [c for c in HEADER if c not in METRIC_COLUMNS]),
        ("turned", ROWS, HEADER[::-1]),
    ):
        predict_file(write(tmp_path / f"{name}.csv", rows, header), tmp_path / f"{name}_out.csv")
        assert predictions(read(tmp_path / f"{name}_out.csv")) == wanted, name


def test_equal_questions_are_answered_once(tmp_path, fake):
    predict_file(write(tmp_path / "runs.csv", ROWS), tmp_path / "out.csv")
    assert len(fake) == len(set(fake)) == 3  # rows 1 and 7 ask the same


def test_rows_beyond_one_portion_are_predicted_in_order(tmp_path, fake, monkeypatch):
    source = write(tmp_path / "runs.csv", ROWS)
    predict_file(source, tmp_path / "whole.csv")
    monkeypatch.setattr(predict, "AT_ONCE", 2)
    predict_file(source, tmp_path / "portions.csv")
    assert cut(tmp_path / "portions.csv") == cut(tmp_path / "whole.csv")


def test_static_batches(tmp_path, fake):
    batch = row(load_kind="static_batch", concurrency="4")
    sums = row(load_kind="static_batch", concurrency="4", runtime="llama.cpp", quant="Q8_0", gpu_name="RTX 3090")
    predict_file(write(tmp_path / "runs.csv", [batch, sums]), tmp_path / "out.csv")
    one, other = read(tmp_path / "out.csv")
    assert float(one["pred_prefill_toks_sec_p50"]) == 4 * 1024 / 0.1024  # of the whole batch
    assert one["pred_decode_toks_sec_p50"] == "100" and other["pred_decode_toks_sec_p50"] == "400"


def test_gzip_in_and_out(tmp_path, fake):
    plain = write(tmp_path / "runs.csv", ROWS)
    zipped = tmp_path / "runs.csv.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    predict_file(zipped, tmp_path / "out.csv.gz")
    predict_file(plain, tmp_path / "out.csv")
    assert read(tmp_path / "out.csv.gz") == read(tmp_path / "out.csv")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path, fake):
    source = write(tmp_path / "runs.csv", ROWS)
    source.write_bytes(b"\xef\xbb\xbf" + source.read_bytes())
    assert predict_file(source, tmp_path / "out.csv").predicted == 4
    with open(tmp_path / "out.csv", newline="", encoding="utf-8-sig") as file:
        assert next(csv.DictReader(file))["source"] == "synthetic"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "not a CSV file"),
        (b"a,b\n1,\x002\n", "not a CSV file"),
        (b"\x1f\x8bbroken", "cannot be read"),
        (b"a,b\n1,2\n", "lacks the columns model_id or model_name_raw, gpu_name or cpu_name, runtime"),
        (b"model_id,gpu_name\nx,y\n", "lacks the column runtime"),
        (b"model_id,gpu_name\xff,run\n\xfe,y,z\n", "lacks the columns gpu_name"),
        (b"model_id,gpu_name,runtime, GPU_Name\nx,y,z,w\n", "gpu_name twice"),
        (b"model_id,gpu_name,runtime,runtime\nx,y,z,w\n", "runtime twice"),
        (b"model_id,gpu_name,runtime,error\nx,y,z,w\n", "already holds the column error"),
    ],
)
def test_bad_files_get_a_sentence_and_leave_nothing(tmp_path, fake, content, says):
    source = tmp_path / "runs.csv"
    source.write_bytes(content)
    with pytest.raises(RunError, match=says):
        predict_file(source, tmp_path / "out.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["runs.csv"]


def test_missing_files_and_folders(tmp_path, fake):
    source = write(tmp_path / "runs.csv", ROWS)
    with pytest.raises(RunError, match="no file"):
        predict_file(tmp_path / "nowhere.csv", tmp_path / "out.csv")
    with pytest.raises(RunError, match="is a folder"):
        predict_file(tmp_path, tmp_path / "out.csv")
    with pytest.raises(RunError, match="no folder"):
        predict_file(source, tmp_path / "nowhere" / "out.csv")


def test_the_input_is_never_overwritten(tmp_path, fake):
    source = write(tmp_path / "runs.csv", ROWS)
    before = source.read_bytes()
    (tmp_path / "link.csv").symlink_to(source)
    for out in (source, tmp_path / "link.csv", tmp_path / "." / "runs.csv"):
        with pytest.raises(RunError, match="file of runs itself"):
            predict_file(source, out)
    assert source.read_bytes() == before


def test_an_output_is_written_whole_or_not_at_all(tmp_path, fake, monkeypatch):
    source = write(tmp_path / "runs.csv", ROWS)
    out = tmp_path / "out.csv"
    out.write_text("earlier")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(predict.os, "replace", full)
    with pytest.raises(RunError, match="No space left"):
        predict_file(source, out)
    assert out.read_text() == "earlier"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.csv", "runs.csv"]


def cut(path):
    """The rows of a file as lists of cells, header first, bytes that are no UTF-8 as surrogates."""
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.reader(file))


def test_ragged_rows_say_so_and_the_others_are_predicted(tmp_path, fake):
    source = write(tmp_path / "runs.csv", [ROWS[0]] * 4)
    lines = source.read_text().splitlines()
    lines[2] += ",extra"
    lines[3] = "synthetic,Qwen/Qwen3-8B"
    source.write_text("\n".join(lines) + "\n")
    summary = predict_file(source, tmp_path / "out.csv")
    out = cut(tmp_path / "out.csv")
    width = len(HEADER)
    assert {len(cells) for cells in out} == {len(out[0])} and len(out) == 5
    assert out[1] == out[4] and out[1][-1] == "" and any(out[1][width:])
    assert out[2][:width] == out[1][:width]
    assert out[2][-1].startswith(f"The row has {width + 1} cells where the header has {width}: the first {width} are kept")
    assert out[3][:width] == ["synthetic", "Qwen/Qwen3-8B", *[""] * (width - 2)]
    assert out[3][-1] == f"The row has 2 cells where the header has {width}: the missing ones are left empty."
    assert not any(out[2][width:-1]) and not any(out[3][width:-1])
    assert summary.rows == 4 and summary.predicted == 2 and sum(summary.errors.values()) == 2
    with pytest.raises(RunError, match="row 2: The row has"):
        predict.read_table(source)


def test_bytes_that_are_no_utf8_come_back(tmp_path, fake):
    source = write(tmp_path / "runs.csv", [row(my_own="OWN"), row(model_id="MODEL-7b"), row(gpu_name="CARD")])
    raw = source.read_bytes().replace(b"OWN", b"caf\xe9 \xc3\xa9").replace(b"MODEL", b"nobody\xe9/x\xff")
    source.write_bytes(raw.replace(b"CARD", b"Geforce\xae 9"))
    summary = predict_file(source, tmp_path / "out.csv")
    raw_out = (tmp_path / "out.csv").read_bytes()
    assert b",caf\xe9 \xc3\xa9," in raw_out and b"nobody\xe9/x\xff-7b" in raw_out
    given, out = cut(source), cut(tmp_path / "out.csv")
    assert [cells[: len(HEADER)] for cells in out] == given
    assert not out[1][-1] and out[2][-1] and out[3][-1]
    assert all(sentence.encode("utf-8") for sentence in summary.errors)  # can be shown


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_byte_order_mark_and_line_ends_are_kept(tmp_path, fake, mark, end):
    source = write(tmp_path / "runs.csv", [ROWS[0], row(notes="one\ntwo")])
    raw = source.read_bytes().replace(b"\r\n", end)
    source.write_bytes(mark + raw)
    assert predict_file(source, tmp_path / "out.csv").predicted == 2
    out = (tmp_path / "out.csv").read_bytes()
    assert out.startswith(mark + b"source,") and out.count(b"\xef\xbb\xbf") == len(mark) // 3
    assert out.count(b"\r\n") == (3 if end == b"\r\n" else 0) and out.count(b"\n") == 4 and out.endswith(end)
    assert b"one\ntwo" in out


def test_header_cells_may_be_padded_and_upper_case(tmp_path, fake):
    plain = write(tmp_path / "runs.csv", ROWS)
    odd = tmp_path / "odd.csv"
    header = [f" {name.upper()} " for name in HEADER]
    odd.write_bytes(b"\r\n".join([",".join(header).encode(), *plain.read_bytes().split(b"\r\n")[1:]]))
    predict_file(plain, tmp_path / "a.csv")
    predict_file(odd, tmp_path / "b.csv")
    assert cut(tmp_path / "b.csv")[0][: len(HEADER)] == header
    assert cut(tmp_path / "b.csv")[1:] == cut(tmp_path / "a.csv")[1:]
    odd.write_bytes(odd.read_bytes().replace(b" MY_OWN ", b" Error "))
    with pytest.raises(RunError, match="already holds the column error"):
        predict_file(odd, tmp_path / "c.csv")


def test_mean_token_counts_and_no_gpus(tmp_path, fake):
    rows = [
        row(prompt_tokens="12.5", output_tokens="574.344"),
        row(output_tokens="-1.5"),
        row(output_tokens="few"),
        row(gpu_count="0"),
    ]
    predict_file(write(tmp_path / "runs.csv", rows), tmp_path / "out.csv")
    mean, negative, letters, none = read(tmp_path / "out.csv")
    assert mean["pred_tpot_ms_p50_p50"] and not mean["error"] and mean["output_tokens"] == "574.344"
    assert fake[0].workload.output_tokens == 574
    assert "output_tokens must be between" in negative["error"] and "must be a number" in letters["error"]
    assert "gpu_count is 0" in none["error"] and not none["pred_tpot_ms_p50_p50"]


def test_with_the_real_estimate(tmp_path):
    summary = predict_file(write(tmp_path / "runs.csv", ROWS[:3]), tmp_path / "out.csv")
    assert summary.predicted == 3
    one, prefill, decode = read(tmp_path / "out.csv")
    assert 0 < float(one["pred_tpot_ms_p50_p50"]) < 1000
    assert float(prefill["pred_prefill_toks_sec_p50"]) > float(decode["pred_decode_toks_sec_p50"]) > 1
