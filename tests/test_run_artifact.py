"""Run files: signed so that a single changed byte is found, without a place for anything private, never written twice."""

import json
import os
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.errors import RunError
from core.records import read_record
from core.run_artifact import Noise, RunFile, is_run_file, open_run, seal
from core.this_machine import MachineFacts
from harness import record, sign

RECORD = read_record({"model_id": "Qwen/Qwen3-8B", "gpu_name": "RTX 4090", "runtime": "llama.cpp", "decode_toks_sec": 99})
RUN = RunFile(
    records=(RECORD,), started="2026-11-21T10:00:00Z", seconds=12.5, tool="llama-bench", command=("llama-bench", "-m", "model.gguf"),
    repeats={"decode_toks_sec": (98.5, 99.0, 99.5)}, extra={"itl_ms_p99": 12.0}, machine=MachineFacts(os="Linux", cpu="Ryzen 9 7950X"),
    noise=Noise(steal=0.0), telemetry={"nvml.0.power_w": {"mean": 300.0}},
)  # fmt: skip
TRACE = {"t": [0.0, 0.1], "nvml.0.power_w": [299.0, None]}


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))


def test_what_is_written_is_read(tmp_path):
    path = record.write_run(RUN, "one", TRACE, tmp_path / "runs")
    opened = record.read_run_file(path)
    assert opened.run == RUN and opened.trace == TRACE and is_run_file(path.read_bytes())
    assert opened.run.records[0].run_id == RECORD.run_id
    assert opened.signer == record.read_run_file(record.write_run(RUN, "two", folder=tmp_path)).signer, "one user, one key"


def test_a_run_file_is_never_written_over(tmp_path):
    path = record.write_run(RUN, "one", folder=tmp_path)
    before = path.read_bytes()
    with pytest.raises(RunError, match="never modified"):
        record.write_run(RUN, "one", folder=tmp_path)
    assert path.read_bytes() == before and not stat.S_IMODE(path.stat().st_mode) & 0o222


def test_every_changed_byte_is_found():
    raw = seal(RUN.model_copy(update={"command": (), "telemetry": {}}), Ed25519PrivateKey.generate(), {"t": [0.0]})
    open_run(raw)
    for place in range(len(raw)):
        for changed in {raw[place] ^ 1, raw[place] ^ 32} - {raw[place]}:  # 32: the case of a letter
            with pytest.raises(RunError):
                open_run(raw[:place] + bytes([changed]) + raw[place + 1 :])


CHANGES = (
    lambda raw: raw + b"\n", lambda raw: raw[:-1], lambda raw: b"\n" + raw, lambda raw: b"",
    lambda raw: raw.splitlines(keepends=True)[-1], lambda raw: raw.replace(b'"key":"', b'"key": "'),
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_added_and_missing_bytes_are_found(change):
    with pytest.raises(RunError, match=r"signature|not as it was signed|no run file"):
        open_run(change(seal(RUN, Ed25519PrivateKey.generate())))


def test_another_ones_signature_is_another_signer():
    one, other = (open_run(seal(RUN, Ed25519PrivateKey.generate())) for _ in range(2))
    assert one.run == other.run and one.signer != other.signer


def test_what_is_signed_but_unknown_is_refused():
    key = Ed25519PrivateKey.generate()
    body = json.dumps({**RUN.model_dump(mode="json"), "prompt": "Tell me"}, separators=(",", ":")).encode() + b"\n"
    line = json.dumps({"ed25519": key.sign(body).hex(), "key": key.public_key().public_bytes_raw().hex()}, separators=(",", ":"))
    with pytest.raises(RunError, match="prompt"):
        open_run(body + line.encode() + b"\n")


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_the_key_is_the_users_alone(tmp_path):
    key = sign.signing_key()
    path = tmp_path / "keys" / sign.KEY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and sign.signing_key().private_bytes_raw() == key.private_bytes_raw()
    path.chmod(0o644)
    with pytest.raises(RunError, match="Others may read"):
        sign.signing_key()
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(RunError, match="no signing key"):
        sign.signing_key()


def test_hashes_hang_on_the_salt(tmp_path, monkeypatch):
    one = sign.hashed("serial 123")
    assert one == sign.hashed("serial 123") != sign.hashed("serial 124") and len(one) == 16
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path / "another"))
    assert sign.hashed("serial 123") != one


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("/".join(("", "home", "ann", "models", "qwen.gguf")) + " failed", "qwen.gguf failed"),
        ("C:\\Users\\ann\\qwen.gguf", "qwen.gguf"),
        ("at 10.1.2.3:8080, http://127.0.0.1:8000/v1", "at <address>:8080, http://127.0.0.1:8000/v1"),
        ("GPU-1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed of 00:1A:2b:3c:4D:5e", "<id> of <mac>"),
        ("HF_TOKEN=hf_abcdefghijkl", "HF_TOKEN=<token>"),
        ("Qwen/Qwen3-8B at 3/4 of 24 GB", "Qwen/Qwen3-8B at 3/4 of 24 GB"),
        ("ann@box42 wrote", "<user>@<host> wrote"),
    ],
)
def test_what_names_people_and_machines_is_scrubbed(said, left, monkeypatch):
    monkeypatch.setattr(record.getpass, "getuser", lambda: "ann")
    monkeypatch.setattr(record.socket, "gethostname", lambda: "box42")
    assert record.scrub(said) == left
