"""A hub on loopback, and repositories for it: headers as published files have them, tensors as zeros that nobody reads."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from core.ir import ModelIR, Tensor

Plain = tuple[str, str, tuple[int, ...], int]  # name, dtype, shape, bytes
TOKEN = "hf_secretsecretsecretsecret"


@dataclass(frozen=True)
class Served:
    """A file that begins with `head` and goes on with zeros up to `size`."""

    head: bytes
    size: int

    def part(self, start: int, end: int) -> bytes:
        known = self.head[start:end]
        return known + bytes(min(end, self.size) - start - len(known))


def whole(raw: bytes) -> Served:
    return Served(raw, len(raw))


@dataclass
class FakeRepo:
    files: dict[str, Served]
    commit: str = ""
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def __post_init__(self) -> None:
        text = json.dumps({name: hashlib.sha1(file.head).hexdigest() for name, file in sorted(self.files.items())})
        self.commit = self.commit or hashlib.sha1(text.encode()).hexdigest()

    def knows(self, revision: str) -> bool:
        return revision in ("main", self.commit) or revision in self.refs or (len(revision) >= 7 and self.commit.startswith(revision))


class FakeHub(ThreadingHTTPServer):
    """Serves `repos`. `asked` holds each request as "METHOD path range" and `sent` counts the bytes of files."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, FakeRepo] = {}
        self.asked: list[str] = []
        self.tokens: list[str | None] = []
        self.sent = 0
        self.ranges = True
        self.status: int | None = None  # what it answers to everything
        self.store: str | None = None  # address of another server that large files are taken from

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, path = self.server, self.path.partition("?")[0]
        hub.asked.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        hub.tokens.append(token)
        if hub.status:
            self.answer(hub.status, b"{}")
        elif token not in (None, TOKEN):
            self.refuse(401, "", "Invalid credentials in Authorization header")
        elif found := re.fullmatch(r"/api/models/([^/]+(?:/[^/]+)?)(?:/revision/(.+))?", path):
            self.info(found[1], (found[2] or "main").replace("%2F", "/"), token)
        elif found := re.fullmatch(r"/([^/]+(?:/[^/]+)?)/resolve/([^/]+)/(.+)", path):
            self.file(found[1], found[2], found[3], token)
        else:
            self.refuse(404, "RepoNotFound", "Repository not found")

    def repo(self, name: str, revision: str, token: str | None) -> FakeRepo | None:
        repo = self.server.repos.get(name)
        if repo is None or (repo.private and token is None):
            # As the real one: without a token nobody learns whether it exists.
            self.refuse(401 if token is None else 404, "RepoNotFound", "Repository not found")
            return None
        if not repo.knows(revision):
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repo

    def info(self, name: str, revision: str, token: str | None) -> None:
        if repo := self.repo(name, revision, token):
            listed = [{"rfilename": file} for file in repo.files]
            body = {"_id": "1", "id": name, "sha": repo.commit, "siblings": listed, "gated": repo.gated and "manual"}
            self.answer(200, json.dumps({**body, "private": repo.private}).encode(), {"Content-Type": "application/json"})

    def file(self, name: str, revision: str, path: str, token: str | None) -> None:
        repo = self.repo(name, revision, token)
        if repo is None:
            return
        if repo.gated and token is None:
            self.refuse(401, "GatedRepo", f"Access to model {name} is restricted.")
        elif path not in repo.files:
            self.refuse(404, "EntryNotFound", "Entry not found")
        elif self.server.store and path.endswith(("safetensors", "gguf")):
            self.answer(302, b"", {"Location": self.server.store + self.path, "X-Repo-Commit": repo.commit})
        else:
            tag = hashlib.sha1(repo.files[path].head).hexdigest()
            self.serve(repo.files[path], {"X-Repo-Commit": repo.commit, "ETag": f'"{tag}"', "Accept-Ranges": "bytes"})

    def serve(self, file: Served, headers: dict[str, str]) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end, status = 0, file.size, 200
        if asked and self.server.ranges:
            start, end, status = int(asked[1]), min(int(asked[2] or file.size - 1) + 1, file.size), 206
            if start >= file.size:
                return self.answer(416, b"", {"Content-Range": f"bytes */{file.size}"})
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(end - start)}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            try:
                for at in range(start, end, 2**20):
                    piece = file.part(at, min(at + 2**20, end))
                    self.wfile.write(piece)
                    self.server.sent += len(piece)
            except OSError:
                self.close_connection = True  # the client had enough

    def refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self.answer(status, json.dumps({"error": message}).encode(), headers)

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextmanager
def running() -> Iterator[FakeHub]:
    """A hub that answers until the block ends."""
    hub = FakeHub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


# ---------------------------------------------------------------- safetensors


def safetensors(tensors: Iterable[Plain]) -> Served:
    """A safetensors file of these tensors."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, dtype, shape, size in tensors:
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return Served(struct.pack("<Q", len(text)) + text, 8 + len(text) + at)


def apart(ir: ModelIR) -> Iterator[Tensor]:
    """The model's tensors as checkpoints store them: each expert by itself."""
    for tensor in ir.tensors:
        if ".experts." in tensor.name and len(tensor.shape) > 1 and tensor.group in ("experts", "mtp"):
            for number in range(tensor.shape[0]):
                name = tensor.name.replace(".experts.", f".experts.{number}.", 1)
                yield Tensor(name, tensor.shape[1:], tensor.group, tensor.role, tensor.shard, tensor.layer, tensor.block)
        else:
            yield tensor


WIDTHS = {"BF16": 2, "F16": 2, "F32": 4, "I32": 4, "F8_E4M3": 1, "U8": 1}


def plain(name: str, dtype: str, shape: tuple[int, ...]) -> Plain:
    count = WIDTHS[dtype]
    for size in shape:
        count *= size
    return name, dtype, shape, count


def unquantised(ir: ModelIR, dtype: str = "BF16") -> list[Plain]:
    return [plain(t.name, dtype, t.shape) for t in apart(ir)]


def _linear(tensor: Tensor) -> bool:
    return tensor.group in ("attention", "mlp", "experts", "shared_experts") and len(tensor.shape) > 1


def quantised(ir: ModelIR, method: str) -> list[Plain]:
    """The tensors as a quantiser writes them: packed weights with their scales beside them."""
    made: list[Plain] = []
    for tensor in apart(ir):
        if not _linear(tensor):
            made.append(plain(tensor.name, "BF16", tensor.shape))
            continue
        (rows, columns), base = tensor.shape, tensor.name.removesuffix(".weight")
        groups = -(-columns // 128)
        if method == "awq":
            made += [plain(f"{base}.qweight", "I32", (columns, rows // 8)), plain(f"{base}.qzeros", "I32", (groups, rows // 8)),
                     plain(f"{base}.scales", "F16", (groups, rows))]  # fmt: skip
        elif method == "gptq":
            made += [plain(f"{base}.qweight", "I32", (columns // 8, rows)), plain(f"{base}.qzeros", "I32", (groups, rows // 8)),
                     plain(f"{base}.scales", "F16", (groups, rows)), plain(f"{base}.g_idx", "I32", (columns,))]  # fmt: skip
        elif method == "fp8":
            made += [plain(f"{base}.weight", "F8_E4M3", (rows, columns)),
                     plain(f"{base}.weight_scale_inv", "F32", (-(-rows // 128), groups))]  # fmt: skip
        elif method == "compressed-tensors":
            made += [plain(f"{base}.weight_packed", "I32", (rows, columns // 8)), plain(f"{base}.weight_scale", "BF16", (rows, groups)),
                     plain(f"{base}.weight_shape", "I32", (2,))]  # fmt: skip
        elif method == "bitsandbytes":
            made += [plain(f"{base}.weight", "U8", (rows * columns // 2, 1)),
                     plain(f"{base}.weight.absmax", "F32", (rows * columns // 64,)), plain(f"{base}.weight.quant_map", "F32", (16,)),
                     plain(f"{base}.weight.quant_state.bitsandbytes__nf4", "U8", (100,))]  # fmt: skip
        else:
            raise AssertionError(method)
    return made


CONFIGS: dict[str, dict[str, Any]] = {
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"},
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False},
    "fp8": {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"},
    "compressed-tensors": {"quant_method": "compressed-tensors", "config_groups": {"group_0": {
        "weights": {"num_bits": 4, "type": "int", "group_size": 128, "strategy": "group"}}}},
    "bitsandbytes": {"quant_method": "bitsandbytes", "load_in_4bit": True},
}  # fmt: skip


def repo_of(config: Mapping[str, Any], tensors: list[Plain], shards: int = 1) -> FakeRepo:
    """A repository of safetensors, in as many shards."""
    files = {"config.json": whole(json.dumps(config).encode()), "README.md": whole(b"#")}
    if shards == 1:
        files["model.safetensors"] = safetensors(tensors)
        return FakeRepo(files)
    names = [f"model-{n + 1:05}-of-{shards:05}.safetensors" for n in range(shards)]
    parts = {name: tensors[n::shards] for n, name in enumerate(names)}
    files.update({name: safetensors(part) for name, part in parts.items()})
    places = {t[0]: name for name, part in parts.items() for t in part}
    index = {"metadata": {"total_size": sum(t[3] for t in tensors)}, "weight_map": places}
    files["model.safetensors.index.json"] = whole(json.dumps(index).encode())
    return FakeRepo(files)
