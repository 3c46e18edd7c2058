"""Uploaded CSV: what is read, what is refused, and that the reader reaches nothing else."""

import duckdb
import pytest

from core.errors import RunError
from core.untrusted import MAX_BYTES, locked_down, read_untrusted_csv

HEAD = b"Model_ID , gpu_name,runtime,decode_toks_sec\n"


def test_rows_come_back_as_text_under_plain_names():
    table, rejects = read_untrusted_csv(HEAD + b"Qwen/Qwen3-8B,RTX 4090,vllm,080\n,RTX 4090,vllm,\n")
    assert list(table.columns) == ["model_id", "gpu_name", "runtime", "decode_toks_sec"]
    assert table.iloc[0].to_list() == ["Qwen/Qwen3-8B", "RTX 4090", "vllm", "080"]  # text stays as it was written
    assert table.iloc[1].to_list() == ["", "RTX 4090", "vllm", ""]
    assert not rejects


def test_ragged_rows_are_named_and_the_rest_reads():
    table, rejects = read_untrusted_csv(HEAD + b"A,b,c,1\nA,b,c,1,2\nA,b\nD,e,f,2\n", "mine.csv")
    assert table["model_id"].to_list() == ["A", "D"]
    assert [text.split(":")[0] for text in rejects] == ["mine.csv, line 3", "mine.csv, line 4"]


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"  \n", "empty"),
        (b"a,b\n1,2\n", "lacks the columns"),
        (HEAD.replace(b"gpu_name", b"runtime") + b"A,b,c,1\n", "lacks|twice"),
        (b"\xff\xfe\x00a", "binary|UTF-8"),
        (b"caf\xe9,gpu_name,runtime\n", "UTF-8"),
        (b"x" * (MAX_BYTES + 1), "at most"),
    ],
)
def test_what_is_refused_says_why(raw, says):
    with pytest.raises(RunError, match=says):
        read_untrusted_csv(raw, "x.csv")


@pytest.mark.parametrize(
    "query",
    [
        "select * from read_csv('/etc/passwd')",
        "select * from read_text('{inside}/../../etc/hostname')",
        "select * from glob('/etc/*')",
        "copy (select 1) to '/tmp/roofcast-should-not-be.csv'",
        "attach '/tmp/roofcast-should-not-be.db'",
        "install httpfs",
        "load httpfs",
        "set threads = 8",
        "set enable_external_access = true",
    ],
)
def test_the_reader_islocked_down(tmp_path, query):
    with locked_down(str(tmp_path)) as connection, pytest.raises(duckdb.Error):
        connection.execute(query.replace("{inside}", str(tmp_path))).fetchall()
