"""Runs the points of a study: what is done is left, what cannot fit is skipped, what fails is recorded."""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from core import sweep as estimates
from core.calibrate import in_effect
from core.errors import RoofcastError, RunError
from core.importers import finished
from core.predict import predict_runs
from core.queue import Queue
from core.records import COLUMNS, RunRecord
from core.run_artifact import NOISY, RunFile
from core.runs import METRIC_COLUMNS, read_run
from core.this_machine import MachineFacts, run_columns
from harness import micro
from harness.engines import Engine, engine
from harness.engines.base import Point, Result, Session
from harness.failures import Failure
from harness.noise import NoiseWatch
from harness.process import serving
from harness.record import bench_folder, read_run_file, write_run
from harness.stats import Repeats
from harness.telemetry import Processes, Source, Telemetry, sources
from harness.telemetry_host import Engine as EngineProcesses

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(slots=True)
class Options:
    """How a study is run. `tell` hears what happens: event and text; `progress` repeats of how many."""

    repeats: Repeats = field(default_factory=Repeats)
    retry: bool = False  # points that failed are run again
    force: bool = False  # also what is predicted not to fit
    seed: int | None = None
    store: bool = True  # runs join the user's own
    again: bool = False  # also what is done
    look_s: float = 0.5
    tell: Callable[[str, str], None] = lambda event, text: None
    progress: Callable[[int, int], None] = lambda done, of: None


@dataclass(slots=True)
class Account:
    """What became of the points, by key."""

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    before: list[str] = field(default_factory=list)


def path_of(point: Point) -> Path:
    return bench_folder() / point.study / f"{point.key}.run"


def _free_name(point: Point) -> str:
    """The point's key, or with a number where it has been tried before: run files are never written over."""
    tried = len(list(path_of(point).parent.glob(f"{point.key}*.run")))
    return f"{point.key}.{tried + 1:03d}" if tried else point.key


def latest(point: Point) -> Path | None:
    """The newest run file of a point; None where it has none."""
    found = [path for path in (path_of(point), *sorted(path_of(point).parent.glob(f"{point.key}.*.run"))) if path.exists()]
    return found[-1] if found else None


def run_points(points: Sequence[Point], facts: MachineFacts, options: Options) -> Account:
    """Runs points one after another. What a Ctrl-C interrupts leaves nothing behind, and is run by the next call.

    Raises RunError where nothing can be written; what is wrong with one point skips it.
    """
    account = Account()
    try:
        for point in points:
            _run_point(point, facts, options, account)
    finally:
        if options.store:
            Queue().export()
    return account


def _run_point(point: Point, facts: MachineFacts, options: Options, account: Account) -> None:
    old = latest(point)
    if old is not None and not options.again and not (options.retry and _failed(old)):
        account.before.append(point.key)
        options.tell("before", point.key)
        return
    why = skips(point, facts, options.force)
    if not why:
        options.tell("starts", point.key)
        try:
            run, trace = measure_point(point, facts, options)
        except RunError as error:
            why = str(error)
    if why:
        account.skipped[point.key] = why
        options.tell("skipped", f"{point.key}: {why}")
        return
    write_run(run, _free_name(point), trace)
    if options.store:
        Queue().put(run.records)
    if kind := run.records[0].failure:
        account.failed[point.key] = kind
        last = run.error.strip().rpartition("\n")[2]  # what it ended with
        options.tell("failed", f"{point.key}: {kind.replace('_', ' ')}{f' ({last})' if last else ''}")
    else:
        account.done.append(point.key)
        options.tell("done", f"{point.key}: {figures(run)}")


def _failed(path: Path) -> bool:
    return bool(read_run_file(path).run.records[0].failure)


# ---- Before a point


def columns_of(point: Point, facts: MachineFacts) -> dict[str, Any]:
    """What a point says of its run: this machine, unless the point names another, and the point's own columns.

    Raises RoofcastError where nobody knows the machine.
    """
    own = {name: cell for name, cell in point.cells.items() if name in COLUMNS}
    elsewhere = bool(own.get("gpu_name") or own.get("cpu_name"))
    runtime = engine(point.text("engine")).runtime or point.text("runtime")
    file = {"model_name_raw": Path(point.text("file")).name.replace("-synthetic", "")} if point.text("file") else {}
    return {**({} if elsewhere else run_columns(facts)), **file, **own, "runtime": runtime}


def skips(point: Point, facts: MachineFacts, force: bool = False) -> str:
    """Why a point is not run, in a sentence; "" where it is."""
    try:
        found: Engine = engine(point.text("engine"))
        if missing := found.missing():
            return missing
        if (file := point.text("file")) and file.endswith(".gguf") and not Path(file).is_file():
            return f"there is no file {Path(file).name}; write synthetic ones with `roofcast bench --synthetic`"
        row = columns_of(point, facts)
        if not _is_here(point) and not (point.text("gpu_name") or point.text("cpu_name")):
            return "the server is on another machine; say on which, with gpu_name and gpu_count, or cpu_name"
        scenario = read_run(row).scenario
        if force or found.name == "openai":  # a server that answers did fit
            return ""
        found_answer = estimates.answer(scenario, analytic=True)
        if found_answer.feasibility == "insufficient_memory":
            return f"predicted not to fit: {found_answer.reasons[0].text}" if found_answer.reasons else "predicted not to fit"
    except RoofcastError as error:
        return str(error)
    return ""


def _is_here(point: Point) -> bool:
    return not point.text("url") or urlsplit(point.text("url")).hostname in _LOOPBACK


def foretold(row: Mapping[str, Any]) -> dict[str, float]:
    """What Roofcast says of a run before it is made, by metric column; nothing where it has nothing to say."""
    try:
        found = predict_runs([read_run(row)], in_effect())[0]
    except RoofcastError:
        return {}
    return {column: float(f"{amount:.4g}") for column, amount in found.metrics.items()}


# ---- A point


def measure_point(point: Point, facts: MachineFacts, options: Options) -> tuple[RunFile, dict[str, list[float | None]]]:
    """Measures one point beside telemetry; a failure becomes a run that failed. Raises RunError where the point is wrong."""
    row = columns_of(point, facts)
    seed = secrets.randbits(31) if options.seed is None else options.seed
    predicted = {} if point.text("trace") else foretold(row)  # a trace has lengths and times of its own
    started, begin = datetime.now(UTC), time.monotonic()
    watched: list[Processes] = []
    found: list[Source] = [*sources(), EngineProcesses(lambda: [p for ask in watched for p in ask()])]
    before = _bandwidth(facts)
    url = point.text("url") if _is_here(point) else ""
    served: Processes = functools.partial(serving, url) if url else list
    noise = NoiseWatch(options.look_s, served)
    watched.append(served)
    session = Session(options.repeats, seed, options.progress, watched.append)
    result, failure = Result([], point.text("engine")), None
    with Telemetry(found) as telemetry:
        try:
            result = engine(point.text("engine")).measure(point, session)
        except Failure as error:
            failure = error
    quiet = noise.found(result.spread)
    summary = telemetry.summary()
    beside, peaks = _watched(summary) if _is_here(point) else ({}, [])
    if failure is not None:
        rows = [{"failure": failure.kind, "fit_reason": f"it failed: {failure.kind.replace('_', ' ')}"}]
    else:
        doubt = "; ".join(quiet.flags)
        rows = [{**beside, **one, **({"sanity_flag": f"{NOISY}: {doubt}"} if doubt and not one.get("memory_kind") else {})}
                for one in result.rows] + peaks  # fmt: skip
    extra = {**result.extra, **_energy(summary)}
    if before is not None:
        extra |= {"read_bandwidth_before_gb_s": before, "read_bandwidth_after_gb_s": _bandwidth(facts) or before}
    run = RunFile(
        records=tuple(_record(row, one, point, facts, started) for one in rows), started=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=time.monotonic() - begin, study=point.study, point=point.key, tool=result.tool, command=result.command,
        repeats=result.repeats, extra=extra, predicted=predicted, machine=facts, noise=quiet,
        error=failure.words if failure else "", telemetry=summary,
    )  # fmt: skip
    return run, telemetry.trace()


def _record(row: Mapping[str, Any], one: Mapping[str, Any], point: Point, facts: MachineFacts, started: datetime) -> RunRecord:
    """One row of a result as a record: what the engine says goes before what the point asked for, names of machines excepted."""
    said = {name: cell for name, cell in one.items() if cell not in (None, "")}
    machine = ("gpu_name", "gpu_count", "cpu_name", "ram_gb", "model_id", "quant")
    if said.get("memory_kind"):
        said = {"concurrency": row.get("concurrency"), **said}
    merged = {**{k: v for k, v in row.items() if not (said.get("memory_kind") and k in METRIC_COLUMNS)}, **said}
    merged |= {name: row[name] for name in machine if row.get(name) not in (None, "")}
    for name in ("gpu_name", "n_gpu_layers"):
        if not row.get("gpu_name"):
            merged.pop(name, None)
    if not merged.get("runtime_version"):
        merged["runtime_version"] = facts.engines.get(str(merged.get("runtime")), "")
    merged.setdefault("run_date", started.strftime("%Y-%m-%d"))
    merged.setdefault("quality_tier", "A")
    return finished(merged, {}, f"{point.study}/{point.key}")


def _watched(summary: Mapping[str, Mapping[str, float]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What telemetry says of the run: memory and power of the devices together, and the engine's peak in host memory."""
    devices = [name for name in summary if name.split(".")[0] in ("nvml", "amdsmi", "apple")]
    told: dict[str, Any] = {}
    peaks = [summary[name]["max"] for name in devices if name.endswith("memory_used_gib")]
    watts = [summary[name]["mean"] for name in devices if name.endswith("power_w")]
    if peaks:
        told["vram_peak_gib"] = sum(peaks)
    if watts:
        told["power_w"] = sum(watts)
    ram = summary.get("engine.ram_gib", {}).get("max", 0.0)
    return told, [{"memory_kind": "ram_peak", "memory_gib": ram}] if ram > 0 else []


def _energy(summary: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Joules of devices and processor packages over the whole point, model loading included."""
    found = {"device_energy_j": ("energy_j",), "package_energy_j": ("package_0_j", "package_1_j")}
    told = {}
    for name, ends in found.items():
        joules = [figures["total"] for key, figures in summary.items() if key.split(".")[-1] in ends and "total" in figures]
        if joules:
            told[name] = sum(joules)
    return told


def _bandwidth(facts: MachineFacts) -> float | None:
    """GB/s of host memory at this moment, where the processor does the work: neighbours on the machine move it by the minute."""
    if facts.gpus or facts.measured_bandwidth_gb_s is None:
        return None
    threads = facts.threads or micro.cores()
    return float(f"{micro.read_bandwidth((threads,), passes=2)[threads]:.4g}")


def figures(run: RunFile) -> str:
    """A run's main figures in a few words, each beside what was predicted of it."""
    shown = {"prefill_toks_sec": "prefill {:.4g} tok/s", "decode_toks_sec": "decode {:.4g} tok/s", "ttft_ms_p50": "TTFT {:.4g} ms",
             "tpot_ms_p50": "TPOT {:.4g} ms", "output_toks_sec": "{:.4g} tok/s", "latency_ms_p50": "latency {:.4g} ms"}  # fmt: skip
    told = [
        form.format(amount) + (f" ({run.predicted[name]:.4g} predicted)" if name in run.predicted else "")
        for r in run.records for name, form in shown.items() if (amount := getattr(r, name)) is not None
    ]  # fmt: skip
    noisy = f" (noisy: {run.noise.flags[0]})" if run.noise.flags else ""
    return ", ".join(dict.fromkeys(told)) + noisy


def finished_runs(study: str) -> list[RunFile]:
    """The run files of a study, one for each point: the newest that measured something, else the newest. Raises RunError where one
    was changed."""
    kept: dict[str, RunFile] = {}
    paths = sorted((bench_folder() / study).glob("*.run"), key=lambda path: (len(path.name), path.name))  # as they were tried
    files = [read_run_file(path).run for path in paths]
    for run in sorted(files, key=lambda run: run.started):
        if not run.records[0].failure or run.point not in kept or kept[run.point].records[0].failure:
            kept[run.point] = run
    return list(kept.values())


__all__ = ["Account", "Options", "finished_runs", "latest", "measure_point", "run_points", "skips"]
