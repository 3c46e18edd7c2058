"""Servers under our own load: one that is there already, by its address, or one that is started for the point."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from core.errors import RunError
from harness.engines.base import Point, Result, Session, free_port
from harness.failures import Failure, failure, kind_of
from harness.load import Answer, Load, Server, drive, probe
from harness.load_result import measured
from harness.process import Running, started
from harness.prompts import BUCKETS, Prompter
from harness.record import last_words, scrubbed
from harness.schedule import Schedule, closed, opened, trace

_OUTPUT = 128
_DYING_S = 2.0  # in which a server that broke ends
# What servers say of themselves: route, engine, where in the answer its version stands.
_ABOUT = (
    ("/version", "vllm", "version"), ("/get_server_info", "sglang", "version"), ("/api/version", "ollama", "version"),
    ("/props", "llama.cpp", "build_info"), ("/info", "tgi", "version"),
)  # fmt: skip


def lengths(point: Point) -> tuple[int, int]:
    """Prompt and output tokens of a point, by number or by bucket. Raises RunError for a bucket that is none."""
    bucket = point.text("bucket")
    if bucket and bucket not in BUCKETS:
        raise RunError(f"There is no bucket of prompts '{bucket}'; there are {', '.join(BUCKETS)}.")
    return point.whole("prompt_tokens") or BUCKETS.get(bucket, 512), point.whole("output_tokens") or _OUTPUT


def schedule_of(point: Point, session: Session) -> Schedule:
    """The load that a point asks for. Raises RunError for a trace that cannot be read."""
    prompt, output = lengths(point)
    if path := point.text("trace"):
        return trace(Path(path), most=point.whole("requests") or 10_000)
    users, rate = point.whole("concurrency", 1), point.number("request_rate")
    most = point.whole("requests") or session.repeats.most * (users if rate is None else 10)
    return opened(rate, most, prompt, output, session.seed) if rate else closed(users, most, prompt, output)


def under_load(server: Server, schedule: Schedule, point: Point, session: Session) -> Load:
    """Probes a server and runs a load on it. Raises RunError where it cannot be measured, or nothing was completed."""
    users = schedule.users if schedule.kind == "closed" else 10

    def enough(done: Sequence[Answer]) -> bool:
        if schedule.kind == "trace" or point.whole("requests") or len(done) < session.repeats.least * users or len(done) % users:
            return False
        ttft, tpot = [a.ttft for a in done], [t for a in done if (t := a.tpot) is not None]
        # Within a round users differ by their place in the queue, so whole rounds are the repeats.
        rounds = [[sum(each[at : at + users]) / users for at in range(0, len(each) - users + 1, users)] for each in (ttft, tpot) if each]
        return session.repeats.enough(*rounds)

    async def both() -> Load:
        ready, prompter = await probe(server, Prompter(session.seed))
        return await drive(ready, schedule, prompter, enough=enough, tell=session.tell)

    return asyncio.run(both())


def result_of(load: Load, tool: str, command: Sequence[str] = ()) -> Result:
    found = measured(load)
    return Result([{**found.columns, "quality_tier": "A"}], tool, scrubbed(command), found.extra, found.repeats, found.spread)


def measure(
    tool: str,
    command: Callable[[int], list[str]],
    point: Point,
    session: Session,
    *,
    ready: str,
    beside: Callable[[Running], list[dict[str, Any]]] | None = None,
    variables: dict[str, str] | None = None,
) -> Result:
    """Starts a server on a free port, waits for `ready` to answer, and runs the point's load on it.

    `beside` makes further rows of what it said. Raises Failure where it does not come up, dies, or answers nothing.
    """
    schedule = schedule_of(point, session)
    port = free_port()
    words = command(port)
    with started(words, variables) as running:
        session.watch(running.processes)
        wait_for(running, f"http://127.0.0.1:{port}{ready}", point.timeout)
        try:
            load = under_load(Server(f"http://127.0.0.1:{port}", point.text("api_model"), timeout=point.timeout), schedule, point, session)
        except RunError as error:
            died = running.wait(_DYING_S)
            said = "\n".join(running.said())
            kind = kind_of(said) or kind_of(str(error)) or ("server_died" if died else "other")
            raise Failure(kind, last_words(f"{said}\n{error}")) from error
        rows = beside(running) if beside else []
    result = result_of(load, tool, [word if word != str(port) else "PORT" for word in words])
    result.rows += rows
    return result


def wait_for(running: Running, url: str, timeout: float) -> None:
    """Waits until a server answers. Raises Failure where it ends, or does not answer in time."""
    end = time.monotonic() + timeout
    while running.alive():
        if time.monotonic() > end:
            raise Failure("timeout", last_words("\n".join(running.said())))
        try:
            if requests.get(url, timeout=2).status_code == 200:
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    raise failure(running.stop(), server=True)


@dataclass(frozen=True)
class OpenAiServer:
    """Any server that speaks OpenAI's API, by its address; who started it, and with what, the point must say."""

    name: str = "openai"
    about: str = "any OpenAI-compatible server by its url (vLLM, SGLang, TGI, llama-server, Ollama, LM Studio), under our own load"
    runtime: str = ""

    def missing(self) -> str:
        return ""

    def measure(self, point: Point, session: Session) -> Result:
        url, schedule = point.needed("url", "http://127.0.0.1:8000"), schedule_of(point, session)
        try:
            load = under_load(Server(url, point.text("api_model"), timeout=point.timeout), schedule, point, session)
        except RunError as error:
            raise Failure(kind_of(str(error)) or "server_died", last_words(str(error))) from error
        result = result_of(load, "load")
        engine, version = who(url)
        given = {"runtime": engine, "runtime_version": version}
        result.rows[0].update({name: cell for name, cell in given.items() if cell and not point.text(name)})
        return result


def who(url: str) -> tuple[str, str]:
    """The engine behind an address and its version, as it says itself; empty where it does not."""
    base = url.rstrip("/").removesuffix("/v1")
    for route, engine, key in _ABOUT:
        try:
            answer = requests.get(base + route, timeout=3)
            content = answer.json() if answer.status_code == 200 else {}
        except (requests.RequestException, ValueError):
            continue
        if isinstance(content, dict) and isinstance(content.get(key), str):
            return engine, content[key]
    return "", ""
