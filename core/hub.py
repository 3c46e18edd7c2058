"""Any model of the Hugging Face Hub, and any GGUF file, as a model with exact bytes: fetched once, then found on this machine.

The one place that asks the network, and only when it is called. What it stores is public: no token is kept, logged or
put into an error.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from core.catalog.quants import quants
from core.errors import HubError
from core.gguf import FILE_TYPES, GgufHeader, Stream, read_gguf
from core.gguf_config import config_of
from core.gguf_tower import tower_config, tower_file
from core.hub_http import RemoteFile, Repo, no_answer, offline
from core.hub_model import HubModel
from core.hub_names import LOCAL, Target, hub_name, parse
from core.hub_store import find, save
from core.safetensors_header import read_safetensors
from core.stored import StoredTensor, merged

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
MAX_SHARDS, AT_ONCE = 2000, 8
_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})(?=\.gguf$)", re.IGNORECASE)


def fetch(text: str, token: str | Literal[False] | None = None, *, local: bool = True, no_network: bool = False) -> HubModel:
    """The model that an id, a link or a path means, kept under ROOFCAST_HOME for `core.catalog.models` to find.

    `token` is a Hub token; without one HF_TOKEN, or the login of huggingface_hub; False is none at all, for whoever may
    not read what this machine's owner may. `local=False` refuses paths of this machine. Only headers are fetched. A commit
    that is already here asks nothing; `no_network`, ROOFCAST_OFFLINE and HF_HUB_OFFLINE never do.
    Raises HubError, one sentence each, and ScenarioError for a config that is incomplete.
    """
    target = parse(text, local=local)
    if target.path is not None:
        model = _local(target.path)
        ref = None
    else:
        held = find(target)
        if target.repo == LOCAL or no_network or offline():
            if held is None:
                raise HubError(_not_here(target))
            return held
        if held is not None and target.revision and held.revision.startswith(target.revision):
            return held
        try:
            repo = Repo(target.repo, target.revision, (token.strip() or None) if isinstance(token, str) else token)
        except HubError as error:
            if held is not None and str(error) == no_answer():
                return held.model_copy(update={"notes": (*held.notes, "the Hub did not answer: this is as last fetched")})
            raise
        target = replace(target, file=_gguf_file(repo, target), tag=None)
        ref = target.revision or "main"
        model = find(replace(target, revision=repo.commit)) or (_gguf(repo, target) if target.file else _safetensors(repo))
    model.ir()  # raises where the config does not hold a model
    save(model, ref)
    return model


def _not_here(target: Target) -> str:
    name = hub_name(target.repo, target.file, target.revision or "main")
    if target.repo == LOCAL:
        return f"'{name}' is not known on this machine; give the path of the GGUF file once with `roofcast model PATH`."
    said = "and unset ROOFCAST_OFFLINE and HF_HUB_OFFLINE for it" if offline() else "without --offline"
    return f"'{name}' is not on this machine, and the network is forbidden; run `roofcast model {target.repo}` once {said}."


# ---- a repository of safetensors


def _safetensors(repo: Repo) -> HubModel:
    """The config and every safetensors header of a repository."""
    weights = any(re.fullmatch(r"(model|pytorch_model|consolidated)[\w.-]*\.(safetensors|bin)", file) for file in repo.files)
    if "adapter_config.json" in repo.files and not weights:  # some keep the config of what they adapt beside it
        base = repo.json("adapter_config.json").get("base_model_name_or_path")
        raise HubError(f"'{repo.name}' is an adapter, no model; give the model that it adapts ({base or 'its base model'}).")
    if "config.json" not in repo.files:
        raise HubError(
            f"'{repo.name}' has neither a config.json nor a GGUF file, so it holds no model that can be read; choose another one."
        )
    config = repo.json("config.json")
    notes: list[str] = []
    if SINGLE in repo.files:
        files: Sequence[str] = [SINGLE]
    elif INDEX in repo.files:
        files = _shards(repo)
    else:
        files = sorted(f for f in repo.files if re.fullmatch(r"(model|pytorch_model)[\w.-]*\.safetensors", f))
    if not files:
        notes.append("the repository has no safetensors: bytes follow from the config, not from a header")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        read = list(pool.map(lambda file: _shard(repo, file), files))
    if "quantization_config" not in config and "hf_quant_config.json" in repo.files:
        # NVIDIA's tool writes the quantisation beside the config.
        config["quantization_config"] = repo.json("hf_quant_config.json").get("quantization")
    return HubModel(
        repo=repo.name, revision=repo.commit, container="safetensors" if files else "none", config=config,
        tensors=merged(t for tensors, _ in read for t in tensors), files=tuple(files), file_bytes=sum(size for _, size in read),
        vision=_towers(repo.files), notes=tuple(notes),
    )  # fmt: skip


def _shards(repo: Repo) -> list[str]:
    places = repo.json(INDEX).get("weight_map")
    files = sorted({str(file) for file in places.values()}) if isinstance(places, dict) else []
    if not files or len(files) > MAX_SHARDS or set(files) - set(repo.files):
        raise HubError(f"The index of '{repo.name}' does not list its files ({INDEX}); the repository is broken, choose another one.")
    return files


def _shard(repo: Repo, file: str) -> tuple[tuple[StoredTensor, ...], int]:
    stream = repo.open(file)
    tensors, needed = read_safetensors(stream, f"{repo.name}/{file}")
    return tensors, _whole(stream.size, needed, f"{repo.name}/{file}")


def _whole(size: int | None, needed: int, name: str) -> int:
    """The size of a file, which cannot be less than what its header lists."""
    if size is not None and size < needed:
        raise HubError(f"'{name}' is truncated: it has {size:,} bytes, and its header lists {needed:,}. Download or publish it again.")
    return needed if size is None else size


# ---- GGUF


def _towers(files: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(file for file in files if file.lower().endswith(".gguf") and "mmproj" in file.lower()))


def _gguf_file(repo: Repo, target: Target) -> str | None:
    """Which GGUF file of the repository is meant; None where it is the safetensors."""
    if target.file is not None:
        if target.file not in repo.files:
            raise HubError(f"'{repo.name}' has no file '{target.file}' at '{repo.wanted}'; check its name on the Hub.")
        return _first(target.file)
    towers = _towers(repo.files)
    models = [f for f in repo.files if f.lower().endswith(".gguf") and f not in towers and _first(f) == f]
    if target.tag is not None:
        fitting = [file for file in models if re.search(rf"(?<![a-z0-9]){re.escape(target.tag)}(?![a-z0-9_])", file, re.IGNORECASE)]
        if len(fitting) == 1:
            return fitting[0]
        raise HubError(f"'{repo.name}' has {len(fitting)} GGUF files called '{target.tag}'; {_name_one(repo, fitting or models)}")
    if not models or any(file in repo.files for file in (SINGLE, INDEX)):
        if towers and "config.json" not in repo.files:
            raise HubError(
                f"'{repo.name}' holds only vision or audio towers ({towers[0]}), no language model; give the model's own repository."
            )
        return None
    if len(models) == 1:
        return models[0]
    raise HubError(f"'{repo.name}' has {len(models)} GGUF files; {_name_one(repo, models)}")


def _name_one(repo: Repo, files: list[str]) -> str:
    if not files:
        return "give a repository that has some."
    shown = ", ".join(f"{repo.name}/{file}" for file in sorted(files)[:4])
    return f"name one, such as {shown}{' …' if len(files) > 4 else '.'}"


def _first(file: str) -> str:
    return _SPLIT.sub(lambda found: f"-00001-of-{found[2]}", file)


def _pieces(file: str, count: int) -> list[str]:
    """The names of all files that a model is cut into, from the first one's."""
    if count == 1:
        return [file]
    if not _SPLIT.search(file):
        raise HubError(f"'{file}' is one of {count} files but is not named -00001-of-{count:05}.gguf; rename them as they were published.")
    return [_SPLIT.sub(f"-{number:05}-of-{count:05}", file) for number in range(1, count + 1)]


def _gguf(repo: Repo, target: Target) -> HubModel:
    assert target.file is not None

    def read(file: str) -> tuple[GgufHeader, int]:
        if file not in repo.files:
            raise HubError(f"'{repo.name}' lacks '{file}', a part of the split model; choose another file of it.")
        stream: RemoteFile = repo.open(file)
        name = f"{repo.name}/{file}"
        header = read_gguf(stream, name)
        return header, _whole(stream.size, header.file_bytes, name)

    return _with_tower(_assembled(read, repo.name, repo.commit, target.file, _towers(repo.files)), read)


def _with_tower(model: HubModel, read: Callable[[str], tuple[GgufHeader, int]]) -> HubModel:
    """The model with what the header of its tower's file says; a file that cannot be read leaves it without."""
    file = tower_file(model.vision)
    if file is None:
        return model
    try:
        header, _ = read(file)
    except HubError as error:
        return model.model_copy(update={"notes": (*model.notes, f"the vision tower is left out: {error}")})
    update = {"config": {**model.config, **tower_config(header)}, "tower_bytes": sum(tensor.bytes for tensor in header.tensors)}
    return model.model_copy(update=update)


def _local(path: Path) -> HubModel:
    digest = hashlib.sha256()

    class Hashed:
        """A file whose bytes count towards the digest as they are read."""

        def __init__(self, inner: Stream) -> None:
            self.inner = inner

        def read(self, size: int, /) -> bytes:
            part = self.inner.read(size)
            digest.update(part)
            return part

    def read(file: str) -> tuple[GgufHeader, int]:
        place = path.parent / file
        try:
            with place.open("rb", buffering=io.DEFAULT_BUFFER_SIZE * 16) as opened:
                header = read_gguf(Hashed(opened), file)
            return header, _whole(place.stat().st_size, header.file_bytes, file)
        except OSError as error:
            raise HubError(f"{place} cannot be read ({error.strerror or error}); give the path of a GGUF file.") from None

    made = _assembled(read, LOCAL, "", _first(path.name), ())
    # A name that a scenario can carry, for Ollama's blobs too.
    name = re.sub(r"[@?#:\\\x00-\x1f]", "-", _first(path.name))
    return made.model_copy(update={"revision": digest.hexdigest(), "file": name if name.lower().endswith(".gguf") else f"{name}.gguf"})


def _assembled(read: Callable[[str], tuple[GgufHeader, int]], repo: str, revision: str, file: str, towers: tuple[str, ...]) -> HubModel:
    header, size = read(file)
    config = config_of(header, file)
    files = _pieces(file, header.splits)
    rest = [read(other) for other in files[1:]]
    infos = [tensor for one, _ in [(header, size), *rest] for tensor in one.tensors]
    if header.splits > 1:
        # The first piece may hold no tensor, so what follows from tensors is read from all of them.
        config = config_of(GgufHeader(header.metadata, tuple(infos), header.data_start), file)
    tensors = tuple(StoredTensor(t.name, t.type, t.elements, t.bytes) for t in infos)
    return HubModel(
        repo=repo, revision=revision, file=file, container="gguf", config=config, tensors=tensors, files=tuple(files),
        file_bytes=size + sum(more for _, more in rest), quant=_gguf_quant(header, file, tensors), vision=towers,
    )  # fmt: skip


def _gguf_quant(header: GgufHeader, file: str, tensors: Sequence[StoredTensor]) -> str | None:
    """The catalog's id of a GGUF file's quantisation: by its name, by what it says of itself, by its commonest type."""
    from core.resolve import quant_in_name

    named = quant_in_name(Path(file).name, "llama.cpp")
    if named is not None and quants()[named.id].container == "gguf":
        return named.id
    said: Any = header.metadata.get("general.file_type")
    if isinstance(said, int) and said in FILE_TYPES:
        return FILE_TYPES[said]
    sizes: dict[str, int] = {}
    for tensor in tensors:
        sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.bytes
    common = max(sizes, key=sizes.__getitem__, default="").upper()
    return next((name for name in (common, f"{common}_M", f"{common}_S", f"GGUF-{common}") if name in quants()), None)
