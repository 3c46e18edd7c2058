"""The judged runs as the score files hold them: what each is, what was measured, what simpler ways of predicting say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from core.batch import Group, run
from core.features import RIVALS, TERMS
from core.fit_core import metrics_at
from core.machine import Columns
from core.observations import Observations, column_values
from core.validate import device_class

UNITS = {"TTFT": "ms", "TPOT": "ms", "latency": "ms", "memory": "GiB", "power": "W"}
TIMES = ("TTFT", "TPOT", "latency")
# Term of a step → the share of the time under which pages show it.
_SHOWN = {
    "weights": "weights", "experts": "weights", "kv": "kv", "recurrent_memory": "kv", "activations": "activations",
    "compute": "compute", "experts_compute": "compute", "decode_attention": "compute", "recurrent": "compute",
    "attention": "compute", "network": "interconnect", "host": "host", "layer": "overhead", "step": "overhead",
}  # fmt: skip
_SHARES = ("weights", "kv", "activations", "compute", "interconnect", "host", "overhead", "waiting")


def rows_table(seen: Observations, parts: Sequence[Group], configuration: np.ndarray) -> pd.DataFrame:
    """One row per line of `seen`, with the columns that `core.scores` asks for; `configuration`: of each line."""
    lines, place = seen.lines, seen.lines["place"].to_numpy()

    def of(name: str) -> np.ndarray:
        return np.array([getattr(t, name) for t in seen.table.traits], dtype=object)[place]

    def load(name: str) -> np.ndarray:
        return np.array([getattr(s.workload, name) for s in seen.scenarios], dtype=object)[place]

    def number(name: str) -> np.ndarray:
        return np.asarray(np.exp(seen.table.numbers[name])[place])

    year = pd.to_numeric(lines["date"].str[:4], errors="coerce").to_numpy(dtype=float)
    measured, metric = lines["measured"].to_numpy(dtype=float), lines["metric"].to_numpy(dtype=object)
    ideal = metrics_at(parts, len(seen.scenarios), lambda group: _ideal(group.c))
    found = {
        "row": np.arange(len(lines)), "run_id": lines["run_id"].to_numpy(dtype=object), "metric": metric,
        "unit": np.array([UNITS.get(name, "tok/s") for name in metric], dtype=object),
        "measured": measured, "analytic": lines["analytic"].to_numpy(dtype=float),
        "source": lines["source"].to_numpy(dtype=object), "source_path": lines["source_path"].to_numpy(dtype=object),
        "model": of("model"), "geometry": of("geometry"),
        "parameters_b": number("parameters") / 1e9, "active_b": number("active") / 1e9,
        "device": of("device"), "device_family": of("family"),
        "device_class": np.array([device_class(name) for name in of("device")], dtype=object),
        "device_count": of("count").astype(int), "runtime": of("runtime"), "backend": of("backend"), "quant": of("quant"),
        "kernel_class": of("kernel_class"), "arrival": load("arrival"), "concurrency": load("concurrency").astype(int),
        "prompt_tokens": load("prompt_tokens").astype(int), "output_tokens": load("output_tokens").astype(int),
        "context_depth": load("context_depth").astype(int), "year": year, "configuration": configuration.astype(str),
        "fitted": lines["fit"].to_numpy(dtype=bool), "feasibility": _feasible(seen, parts)[place],
        "roofline": column_values(lines, ideal), "bandwidth": _one_constant(metric, measured, number("bandwidth"), number("weights")),
        "mean": pd.Series(measured).groupby(metric).transform("mean").to_numpy(), "planner": _planner(seen)[place],
    }  # fmt: skip
    table = pd.DataFrame(found)
    table.loc[table["metric"] != "decode", "planner"] = np.nan
    for name, share in zip(_SHARES, _shares(seen).T, strict=True):
        table[f"share_{name}"] = share.astype(np.float32)
    return table


# ---- What is simpler


def _feasible(seen: Observations, parts: Sequence[Group]) -> np.ndarray:
    """What the estimate says of each scenario's memory."""
    found = np.full(len(seen.scenarios), "in_vram", dtype=object)
    for group in parts:
        _, fit, _ = run(group)
        offloaded = (group.spread(fit.host_layers) > 0) | (group.spread(fit.host_experts) > 0)
        short = group.spread(fit.headroom) < 0
        found[group.index] = np.where(short, "insufficient_memory", np.where(offloaded, "with_offload", "in_vram"))
    return found


def _ideal(c: Columns) -> Columns:
    """Columns of a machine that reaches its datasheet: no efficiency below 1, no fixed cost, no slow link."""
    gpu = Columns(**vars(c.gpu))
    for name in vars(gpu):
        if name.endswith("_efficiency"):
            setattr(gpu, name, 1.0)
    gpu.layer_overhead = gpu.moe_layer_overhead = 0.0
    return Columns(**{**vars(c), "gpu": gpu, "step_overhead": 0.0, "sequence_overhead": 0.0, "request_overhead": 0.0})


def _one_constant(metric: np.ndarray, measured: np.ndarray, bandwidth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Bandwidth over weights (for a time: weights over bandwidth) times the constant that is right on the median of its metric."""
    found = np.full(len(measured), np.nan)
    for name in np.unique(metric):
        if name in ("memory", "power"):
            continue
        ours = metric == name
        ratio = (weights / bandwidth if name in TIMES else bandwidth / weights)[ours]
        found[ours] = ratio * np.median(measured[ours] / ratio)
    return found


# Capacity planner TR133, sections 5.3 and 5.4: tok/s of one sequence on its laptop, and how quantisation multiplies it.
_PLANNER_BANDWIDTH = 556e9
_PLANNER_BITS = ((12.0, 1.0), (7.5, 1.3), (6.2, 1.5), (5.2, 1.7), (4.0, 1.9), (3.0, 2.1), (0.0, 2.3))  # at least so many bits


def _planner(seen: Observations) -> np.ndarray:
    """Its decode rate where it is defined: one sequence on one device, 0.4 to 8.1 billion parameters; NaN elsewhere."""
    size = np.exp(seen.table.numbers["parameters"]) / 1e9
    bandwidth = np.exp(seen.table.numbers["bandwidth"])
    bits = seen.table.numbers["bits"]
    times = np.select([bits >= least for least, _ in _PLANNER_BITS], [by for _, by in _PLANNER_BITS])
    alone = np.array([s.workload.concurrency == 1 and s.system.count == 1 for s in seen.scenarios])
    rate = 72.1 * size**-0.089 * times * bandwidth / _PLANNER_BANDWIDTH
    return np.where(alone & (size > 0.4) & (size < 8.1), rate, np.nan)


# ---- What the time is made of


def _shares(seen: Observations) -> np.ndarray:
    """Share of each line's analytic time by term, shape (lines, len(_SHARES)): of the steps by how the metric hangs on them."""
    table, lines = seen.table, seen.lines
    place = lines["place"].to_numpy()
    decode, prefill = (_step_shares(terms)[place] for terms in (table.decode, table.prefill))
    by_decode, by_prefill = np.abs(lines["decode"].to_numpy()), np.abs(lines["prefill"].to_numpy())
    found = decode * by_decode[:, None] + prefill * by_prefill[:, None]
    waiting = np.where(lines["metric"] == "TTFT", table.numbers["waiting"][place], 0.0)
    found *= (1 - waiting)[:, None]
    found[:, _SHARES.index("waiting")] = waiting
    whole = found.sum(axis=1, keepdims=True)
    found = np.divide(found, whole, out=np.zeros_like(found), where=whole > 1e-9)
    found[lines["metric"].isin(["memory", "power"]).to_numpy()] = 0.0
    return np.asarray(found)


def _step_shares(terms: Mapping[str, np.ndarray]) -> np.ndarray:
    counted: dict[str, np.ndarray] = {term: np.nan_to_num(terms[term], posinf=0.0) for term in TERMS}
    for one, other in RIVALS:
        first = counted[one] >= counted[other]
        counted[one], counted[other] = np.where(first, counted[one], 0.0), np.where(first, 0.0, counted[other])
    found = np.zeros((len(next(iter(counted.values()))), len(_SHARES)))
    for term, time in counted.items():
        found[:, _SHARES.index(_SHOWN[term])] += time
    whole = found.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(found, whole, out=np.zeros_like(found), where=whole > 0))
