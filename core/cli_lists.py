"""What the catalog holds, as lists for a terminal and as records for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.units import significant

if TYPE_CHECKING:
    from core.catalog.runtimes import Runtime

LIMIT = 40  # hits of a search
CONTEXT = ("max_position_embeddings", "n_positions", "seq_length")  # what configs call it


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: its cells by column, and the same as plain data."""

    cells: dict[str, str]
    record: dict[str, Any]


def table(entries: Sequence[Entry]) -> str:
    """Entries as aligned columns, numbers to the right. Names are never cut, so that they can be pasted."""
    columns = list(entries[0].cells)
    rows = [columns, *(list(entry.cells.values()) for entry in entries)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    right = [all(not row[i] or row[i][0].isdigit() or row[i] == "—" for row in rows[1:]) for i in range(len(columns))]
    lines = []
    for row in rows:
        cells = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _or_dash(amount: float | None, digits: int = 3) -> str:
    return "—" if amount is None else significant(amount, digits)


def _named(text: str, hits: Sequence[Any], label: Any) -> list[Any]:
    """Hits that hold all the words, or all hits where none does: near misses help only when nothing was hit."""
    words = text.lower().split()
    exact = [hit for hit in hits if all(word in label(hit).lower() for word in words)]
    return exact or list(hits)


def models(text: str) -> list[Entry]:
    from core.catalog.models import models as every
    from core.catalog.models import search_models

    found = search_models(text, LIMIT) if text.strip() else list(every().values())
    found = _named(text, found, lambda m: " ".join((m.id, *m.aliases)))
    entries = []
    for m in found:
        context = next((m.config[key] for key in CONTEXT if key in m.config), None)
        size = None if m.published_parameters is None else m.published_parameters / 1e9
        entries.append(
            Entry(
                {
                    "Model": m.id,
                    "Params (B)": _or_dash(size),
                    "Context": f"{context:,}" if context else "—",
                    "Type": str(m.config.get("model_type", "")),
                },
                {
                    "id": m.id,
                    "parameters": m.published_parameters,
                    "active_parameters": m.published_active,
                    "context_tokens": context,
                    "model_type": m.config.get("model_type"),
                    "licence": m.licence,
                    "aliases": list(m.aliases),
                    "source": m.source,
                },
            )
        )
    return entries


def devices(text: str) -> list[Entry]:
    from core.catalog import hardware, own_hardware

    if text.strip():
        found = hardware.search_devices(text, LIMIT)
        found = _named(text, found, lambda d: " ".join((d.id, d.name, *d.aliases)))
    else:
        found = list(hardware.devices().values())
    words = text.casefold().split()
    found = [*(d for d in own_hardware.saved().values() if all(word in d.name.casefold() for word in words)), *found]
    return [
        Entry(
            {
                "Device": d.name,
                "Class": d.device_class,
                "GB": _or_dash(d.memory_gb),
                "GB/s": _or_dash(d.memory_bandwidth_gb_s),
                "16-bit TFLOP/s": _or_dash(d.bf16_tflops or d.fp16_tflops),
                "W": _or_dash(d.tdp_w),
                "Year": str(d.launch_year or "—"),
            },
            {
                "id": d.id,
                "name": d.name,
                "vendor": d.vendor,
                "class": d.device_class,
                "kind": d.kind,
                "unified": d.unified,
                "memory_gb": d.memory_gb,
                "memory_bandwidth_gb_s": d.memory_bandwidth_gb_s,
                "fp16_tflops": d.fp16_tflops,
                "bf16_tflops": d.bf16_tflops,
                "fp8_tflops": d.fp8_tflops,
                "int8_tops": d.int8_tops,
                "fp4_tflops": d.fp4_tflops,
                "interconnect": d.interconnect,
                "tdp_w": d.tdp_w,
                "launch_year": d.launch_year,
                "price_usd": d.price_usd,
                "source": d.source,
            },
        )
        for d in found
    ]


def systems(text: str) -> list[Entry]:
    from core.catalog import hardware

    words = text.lower().split()
    found = [
        (s, hardware.devices()[s.device] if s.device in hardware.devices() else hardware.device(s.device))
        for s in hardware.systems().values()
    ]
    return [
        Entry(
            {"System": s.id, "Name": s.name, "Devices": f"{s.count} × {d.name}", "RAM (GB)": _or_dash(s.ram_gb)},
            {
                "id": s.id,
                "name": s.name,
                "device": d.name,
                "count": s.count,
                "link": s.link,
                "cpu": s.cpu,
                "ram_gb": s.ram_gb,
                "source": s.source,
            },
        )
        for s, d in found
        if all(word in " ".join((s.id, s.name, d.name, *s.aliases)).lower() for word in words)
    ]


def instances(text: str) -> list[Entry]:
    from core.catalog import hardware
    from core.catalog.instances import search_instances

    found = [(row, hardware.device(row.device).name if row.device else None) for row in search_instances(text)]
    return [
        Entry(
            {
                "Instance": row.label,
                "Provider": row.provider,
                "Devices": f"{row.count or '<1'} × {name}" if name else "—",
                "vCPU": str(row.vcpus or "—"),
                "RAM (GB)": _or_dash(row.ram_gb, 4),
                "$/h": "—" if row.usd_per_h is None else f"{row.usd_per_h:.2f}",
                "Price": row.price_is if row.usd_per_h is not None else "unknown",
                "Estimate": "not supported yet" if row.unsupported else "yes",
            },
            {**row.model_dump(exclude={"label"}), "name": row.label, "device_name": name},
        )
        for row, name in found
    ]


def runtimes(text: str) -> list[Entry]:
    from core import runtime_sheet
    from core.catalog.runtimes import search_runtimes

    found = _named(text, search_runtimes(text), lambda r: " ".join((r.id, r.name, *r.aliases)))
    return [
        Entry(
            {
                "Runtime": r.name,
                "Backends": ", ".join(r.backends),
                "Described": "yes" if not r.treated_as else f"speed as {r.treated_as}" if r.described else f"as {r.treated_as}",
            },
            {
                "id": r.id,
                "name": r.name,
                "backends": list(r.backends),
                "runs": list(r.runs),
                "kv_dtypes": list(r.kv_dtypes),
                "audience": r.audience,
                "treated_as": r.treated_as,
                "aliases": list(r.aliases),
                **runtime_sheet.record(r),
            },
        )
        for r in found
    ]


def one_runtime(text: str) -> Runtime | None:
    """The runtime that a text names, or the only one that it finds."""
    from core.catalog.runtimes import runtime
    from core.errors import CatalogError

    found = runtimes(text) if text.strip() else []
    try:
        return runtime(text if len(found) != 1 else found[0].record["id"])
    except CatalogError:
        return None


def quants(text: str) -> list[Entry]:
    from core.catalog import quants as catalog

    found = catalog.search_quants(text, LIMIT) if text.strip() else list(catalog.quants().values())
    found = _named(text, found, lambda q: " ".join((q.id, q.name, *q.aliases)))
    entries = []
    for q in found:
        stored = (q.tensors or {}).get("linear") or catalog.recipe_book().recipes[str(q.recipe)].base
        bits = catalog.format_named(stored).bits
        entries.append(
            Entry(
                {"Quant": q.id, "Bits, most weights": _or_dash(bits), "Container": q.container, "Name": q.name},
                {
                    "id": q.id,
                    "name": q.name,
                    "container": q.container,
                    "kernel_class": q.kernel_class,
                    "bits_of_most_weights": bits,
                    "aliases": list(q.aliases),
                    "approximate": q.guess,
                    "source": q.source,
                },
            )
        )
    return entries
