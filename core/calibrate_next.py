"""Which runs to measure next: those that lessen the doubt about one's machine most, as commands that are ready to run.

Nothing measured decides, only what was measured already and what the candidates share with it and with what is asked.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.calibrate import lines_of
from core.calibrate_kernel import STEPS, Points, points_of, stacked
from core.calibrate_own import few_shot
from core.calibrate_prior import teaching
from core.catalog.runtimes import runtime
from core.correction import Correction
from core.errors import RoofcastError
from core.features import tabulate
from core.records import RunRecord
from core.runs import read_run
from core.scenario import Scenario
from core.words import device_name, model_name

_TESTS = {  # what a tool for one user times: prompt, output, depth
    "prefill of 512 tokens": ("prefill", 512, 1, 0),
    "prefill of 4,096 tokens": ("prefill", 4096, 1, 0),
    "decode from an empty cache": ("decode", 1, 128, 0),
    "decode 4,096 tokens deep": ("decode", 1, 128, 4096),
    "decode 16,384 tokens deep": ("decode", 1, 128, 16384),
}
_LOADS = (1, 8, 32)  # users of a server
_MOST_KINDS = 4  # models with quantisations that are offered
_REQUESTS = 8  # for each user of a server


@dataclass(frozen=True, slots=True)
class Next:
    """A run to measure. `left`: doubt about the asked scenarios (standard deviation of the log error) once it is there, of `now`."""

    what: str
    command: str
    now: float
    left: float


@dataclass(frozen=True, slots=True)
class _Candidate:
    scenario: Scenario
    asks: str  # "prefill", "decode" or "both"
    what: str


def next_runs(correction: Correction, records: Sequence[RunRecord], asked: Scenario | None = None, most: int = 2) -> list[Next]:
    """The runs that teach most, best first, of what `asked` asks (None: of the machine of the newest run). Raises CatalogError.

    Empty where neither a scenario nor a run says which machine is meant, or nothing tells what runs are worth.
    """
    learned = few_shot()
    starts = _starts(records, asked)
    if learned is None or not starts:
        return []
    candidates = [c for start in starts for c in _candidates(start)]
    table = tabulate([c.scenario for c in candidates], strict=True)
    candidates = [candidates[n] for n in table.index]
    if not candidates:
        return []
    points = points_of(table)
    lines = lines_of(correction, records)
    device = table.traits[0].device
    seen = None
    if lines is not None and device in lines.devices():
        at = np.flatnonzero((lines.table["device"] == device).to_numpy())
        seen = lines.points.take(at)
    offered = _lines(points, candidates)
    targets = stacked([points.asking(decode=1.0), points.asking(prefill=1.0)])
    # What is asked counts more than what else could be measured.
    weight = np.array([4.0 if asked is not None and _alike(c.scenario, asked) else 1.0 for c in candidates])
    prior = learned.prior
    one_run = float(np.mean([prior.noise[name] for name in ("decode", "prefill")])) + float(prior.variances.get("both run", 0.0)) + 1e-3
    noise = np.full(len(offered), one_run)
    order, doubts = teaching(offered, targets, noise, prior, most, seen, np.concatenate([weight, weight]))
    return [
        Next(candidates[n].what, command(candidates[n].scenario, candidates[n].asks), now, left)
        for n, now, left in zip(order, doubts, doubts[1:], strict=False)
    ]


def _starts(records: Sequence[RunRecord], asked: Scenario | None) -> list[Scenario]:
    """The asked scenario, and one for each model and quantisation of own runs on its machine, the newest first."""
    found = [] if asked is None else [asked]
    for record in sorted(records, key=lambda r: r.run_date, reverse=True):
        if record.memory_kind or record.failure:
            continue
        try:
            scenario = read_run(record.model_dump()).scenario
        except RoofcastError:
            continue
        alone = scenario.with_(concurrency=1, arrival="closed", request_rate_per_s=None, prefix_cached_tokens=0)
        if all(not _alike(alone, other) for other in found) and (not found or alone.system.device == found[0].system.device):
            found.append(alone)
    return found[:_MOST_KINDS]


def _alike(a: Scenario, b: Scenario) -> bool:
    return (a.model, a.runtime, a.deployment.quant, a.system.count) == (b.model, b.runtime, b.deployment.quant, b.system.count)


def _candidates(start: Scenario) -> list[_Candidate]:
    """What can be measured of a scenario's model, quantisation and runtime."""
    plain = start.with_(context_depth=0, prefix_cached_tokens=0, max_context=None, max_sequences=None)
    name = f"{model_name(start.model)} {start.deployment.quant or ''}".strip()
    found = []
    if runtime(start.runtime).audience != "server":
        for what, (asks, prompt, output, depth) in _TESTS.items():
            load = {"prompt_tokens": prompt, "output_tokens": output, "context_depth": depth, "concurrency": 1, "arrival": "closed"}
            found.append(_Candidate(plain.with_(**load, request_rate_per_s=None), asks, f"{name}: {what}"))
        return found
    for users in sorted({*_LOADS, start.workload.concurrency}):
        load = {"prompt_tokens": 1024, "output_tokens": 256, "concurrency": users, "arrival": "closed", "request_rate_per_s": None}
        who = f"{users} users" if users > 1 else "one user"
        found.append(_Candidate(plain.with_(**load), "both", f"{name}: {who}, 1,024 tokens in and 256 out"))
    return found


def _lines(points: Points, candidates: Sequence[_Candidate]) -> Points:
    """Candidates as the lines that they would give: of a server's the step that decides its throughput."""
    on = {step: np.zeros(len(candidates)) for step in STEPS}
    for n, candidate in enumerate(candidates):
        on["decode"][n] = {"decode": 1.0, "prefill": 0.0}.get(candidate.asks, 0.85)
        on["prefill"][n] = {"decode": 0.0, "prefill": 1.0}.get(candidate.asks, 0.3)
    return Points(points.kinds, points.numbers, points.shares, on, -np.ones(len(candidates), dtype=int))


# ---- As commands


def command(scenario: Scenario, asks: str) -> str:
    """What to type to measure it, its result to a file that the page takes. Placeholders are in capitals."""
    load, deploy = scenario.workload, scenario.deployment
    if scenario.runtime == "ollama":
        cells = [("model_id", scenario.model), ("api_model", "OLLAMA_TAG")]
        cells += [("prompt_tokens", str(load.prompt_tokens)), ("output_tokens", str(load.output_tokens))]
        return shlex.join(["roofcast", "bench", "one", "ollama", *(word for name, cell in cells for word in ("--set", f"{name}={cell}"))])
    if runtime(scenario.runtime).audience != "server":
        words = ["llama-bench", "-m", "MODEL.gguf", "-p", str(load.prompt_tokens if asks == "prefill" else 0)]
        words += ["-n", str(load.output_tokens if asks == "decode" else 0)]
        words += ["-d", str(load.context_depth)] if load.context_depth else []
        words += ["-fa", "1" if deploy.flash_attention else "0"] if deploy.flash_attention is not None else []
        words += ["-ngl", str(deploy.gpu_layers)] if deploy.gpu_layers is not None else []
        words += ["-t", str(deploy.threads)] if deploy.threads is not None else []
        return shlex.join([*words, "-o", "json"]) + " > bench.json"
    users = load.concurrency
    sizes = ["--random-input-len", str(load.prompt_tokens), "--random-output-len", str(load.output_tokens)]
    if scenario.runtime == "sglang":
        words = ["python", "-m", "sglang.bench_serving", "--backend", "sglang", "--dataset-name", "random", *sizes]
        words += ["--random-range-ratio", "1", "--max-concurrency", str(users), "--num-prompts", str(_REQUESTS * users)]
        return shlex.join([*words, "--output-file", "bench.jsonl"])
    words = ["vllm", "bench", "serve", "--model", scenario.model, "--dataset-name", "random", *sizes, "--ignore-eos"]
    words += ["--max-concurrency", str(users), "--num-prompts", str(_REQUESTS * users)]
    return shlex.join([*words, "--save-result", "--result-filename", "bench.json"])


def machine_of(records: Sequence[RunRecord]) -> str:
    """The machine that the newest run was measured on, in words; "" without runs."""
    named = [record for record in records if record.device]
    return device_name(max(named, key=lambda r: r.run_date).device) if named else ""
