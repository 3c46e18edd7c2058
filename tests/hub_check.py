"""A model of every family, served by a hub on loopback and read back: parameters, cache and file size against published ones.

    python tests/hub_check.py            prints the table as Markdown
    python tests/hub_check.py --write    writes it into docs/models.md

Published totals stand in data/catalog/models, sizes of GGUF files in data/golden/gguf_sizes.json, and measured KV buffers
among the runs. What a row cannot be held against is left blank.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fake_hub import FakeHub, FakeRepo, repo_of, running, unquantised
from gguf_files import gguf_of

from core.catalog.models import ir, models
from core.catalog.quants import quant
from core.errors import RoofcastError
from core.ir_build import build_ir
from core.memory_points import point_of, read_points
from core.model_facts import facts
from core.predict import write_whole
from core.units import GIB

ROOT = Path(__file__).resolve().parents[1]
TOLERANCE = 0.005
DOCUMENT = ROOT / "docs" / "models.md"
HEAD = """# Models, held against what others published

Written by `python tests/hub_check.py --write`. A model of every family that is known: its files are laid out as they are published,
served by a hub on loopback and read back, as any id of the Hugging Face Hub is. Parameters are held against the published total,
the cache of a token (16 bits, all layers) against buffers that engines printed, the tensors of a GGUF file against its published
size. Where nobody published a figure the cell stays empty. Of models that read images the parameters count the vision tower
where the published total does; the files are those of the language model.

"""
WHY = {
    "text and vision": "The published total counts the vision tower too, and more that is not known here.",
    "text, vision and audio": "The published total counts a tower for sound too, and weights that no layer uses. Here stands the language "
    "model, with its vision tower where that is known.",
    "a copy of the tied head": "The published file stores the table of embeddings a second time, as the output head that is tied to it.",
    "attention masks stored as tensors": "The published file stores each layer's causal mask among the weights; it is no parameter.",
    "packed elements": "The published total counts stored numbers, each of which holds several weights.",
    "an undeclared prediction module": "The published total counts a module that predicts tokens, which the config does not declare.",
    "undeclared prediction modules": "The published total counts modules that predict tokens, which the config does not declare.",
    "an estimate": "The published figure is an estimate of whoever listed it, not a count; ours is the sum of the tensors' shapes.",
}
PREFERRED = ("Q4_K_M", "Q8_0", "MXFP4_MOE")


@dataclass(frozen=True)
class Row:
    """One model as read from the hub, beside what others say of it; 0 or None where nobody does."""

    id: str
    family: str
    parameters: int
    published: int
    kv_bytes: int
    measured_kv: float
    file_bytes: int
    published_bytes: float
    why: str

    @property
    def misses(self) -> list[str]:
        pairs = (("parameters", self.parameters, self.published), ("KV", self.kv_bytes, self.measured_kv),
                 ("file", self.file_bytes, self.published_bytes))  # fmt: skip
        return [name for name, ours, theirs in pairs if theirs and abs(ours / theirs - 1) > TOLERANCE]


def chosen() -> list[str]:
    """One catalog model of each family: one whose published total counts the weights alone, if there is one."""
    found: dict[str, tuple[bool, bool, int, str]] = {}
    for entry in models().values():
        if entry.published_parameters:
            covers = entry.published_covers
            key = (covers != "weights", covers in ("packed elements", "an estimate"), entry.published_parameters, entry.id)
            family = ir(entry.id).model_type
            found[family] = min(found.get(family, key), key)
    return sorted(name for *_, name in found.values())


def measured_kv() -> dict[str, float]:
    """Bytes that a token takes in a 16-bit cache, by measured buffers of models whose layers all keep every token."""
    found: dict[str, float] = {}
    for row in read_points():
        if "kv" not in row["measured_kind"]:
            continue
        try:
            point = point_of(row)
        except RoofcastError:
            continue
        deployment, kinds = point.scenario.deployment, {b.attention.kind for b in ir(point.scenario.model).blocks}
        if point.kind == "kv" and kinds <= {"full", "linear"} and deployment.kv_dtype in (None, "f16") and deployment.max_context:
            found[point.scenario.model] = point.measured / (deployment.max_context * (deployment.max_sequences or 1))
    return found


def rows(hub: FakeHub, largest: float = float("inf")) -> Iterator[Row]:
    """Every model of up to `largest` parameters, fetched through the hub."""
    buffers = measured_kv()
    for name in dict.fromkeys([*chosen(), *sorted(buffers)]):
        entry, made = models()[name], ir(name)
        if made.parameters > largest:
            continue
        config = {key: value for key, value in entry.config.items() if key != "quantization_config"}
        hub.repos[name] = repo_of(config, unquantised(made), shards=1 + min(made.parameters // 10**10, 7))
        found = facts(f"{name}@main")
        hub.repos.clear()
        total, module = found["parameters"], found["prediction_module_parameters"]
        published = entry.published_parameters or 0
        tower = made.tower.parameters if made.tower else 0
        counts = (total, total + module, total + tower, total + module + tower)
        ours = min(counts, key=lambda n: abs(n - published)) if published else total
        why = WHY.get(entry.published_covers or "", "") if published else ""
        yield Row(name, found["family"], ours, published, found["kv_bytes_per_token"], buffers.get(name, 0.0),
                  found["file_bytes"], 0.0, why)  # fmt: skip
    yield from gguf_rows(hub, largest)


def gguf_rows(hub: FakeHub, largest: float) -> Iterator[Row]:
    """One file of each model whose GGUF sizes are published; the size is that of its tensors."""
    golden: dict[str, Any] = json.loads((ROOT / "data/golden/gguf_sizes.json").read_text())
    for title, config in golden["models"].items():
        cases = [c for c in golden["cases"] if c["model"] == title and "gib" in c and quant(c["quant"]).container == "gguf"]
        case = min(cases, key=lambda c: PREFERRED.index(c["quant"]) if c["quant"] in PREFERRED else len(PREFERRED), default=None)
        made = build_ir(config, title)
        if case is None or made.parameters > largest:
            continue
        short = "".join(c if c.isalnum() or c in ".-" else "-" for c in title)
        hub.repos["published/gguf"] = FakeRepo({f"{short}-{case['quant']}.gguf": gguf_of(made, config, case["quant"])})
        found = facts("published/gguf@main")
        yield Row(f"{title} {case['quant']} (GGUF)", found["family"], found["parameters"], 0, found["kv_bytes_per_token"], 0.0,
                  found["weights_bytes"], case["gib"] * GIB, "")  # fmt: skip


def table(found: list[Row]) -> str:
    """The rows as Markdown, and a sentence that sums up."""

    def against(ours: float, theirs: float, unit: float, digits: int) -> str:
        return f"{ours / unit:,.{digits}f} |" + (f" {theirs / unit:,.{digits}f} ({ours / theirs - 1:+.2%}) |" if theirs else " |")

    lines = ["| Model | Family | Parameters, 10⁹ | published | KV a token, KiB | measured | File, GB | published |",
             "|---|---|--:|--:|--:|--:|--:|--:|"]  # fmt: skip
    for row in found:
        cells = (
            against(row.parameters, row.published, 1e9, 3),
            against(row.kv_bytes, row.measured_kv, 1024, 1),
            against(row.file_bytes, row.published_bytes, 1e9, 2),
        )
        lines.append(f"| {row.id} | {row.family} | {' '.join(cells)}")
    missed = [row for row in found if row.misses]
    families = len({row.family for row in found})
    lines.append(f"\n{len(found)} models of {families} families; {len(missed)} differ by more than {TOLERANCE:.1%} in some figure.")
    for why in dict.fromkeys(row.why for row in missed):
        names = ", ".join(row.id for row in missed if row.why == why)
        lines.append(f"\n- {names}: {why or 'nothing at hand explains it.'}")
    return "\n".join(lines)


def main() -> None:
    os.environ.pop("ROOFCAST_OFFLINE", None)
    with running() as hub, tempfile.TemporaryDirectory() as home:
        os.environ.update(HF_ENDPOINT=hub.address, ROOFCAST_HOME=home)
        text = table(list(rows(hub)))
    if "--write" in sys.argv[1:]:
        write_whole(DOCUMENT, f"{HEAD}{text}\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
