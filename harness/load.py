"""The load generator: any OpenAI-compatible server by its address, asked in a closed loop, at random times or by a trace.

Times are taken where the bytes arrive. Tokens are those of the server's `usage`, never of chunks, which hold none or several.
Of an answer nothing is kept but its times and counts.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from core.errors import RunError
from harness.prompts import WORDS, Prompter
from harness.record import scrub
from harness.schedule import Request, Schedule

TIMEOUT_S = 600.0  # of one request
WARM_UP = 2  # requests a user before anything counts
_LENGTHS = (len(WORDS), 3 * len(WORDS))  # words of the two prompts by which a server's tokenizer is measured


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: seconds after the start of the load, `gaps` between its chunks; `error` where it failed."""

    sent: float
    first: float = 0.0
    last: float = 0.0
    gaps: tuple[float, ...] = ()
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    error: str = ""

    @property
    def ttft(self) -> float:
        return self.first - self.sent

    @property
    def latency(self) -> float:
        return self.last - self.sent

    @property
    def tpot(self) -> float | None:
        """Mean time of a token after the first; None for an answer of one token."""
        return (self.last - self.first) / (self.output_tokens - 1) if self.output_tokens > 1 else None


@dataclass(frozen=True, slots=True)
class Server:
    """A server: base address (with or without /v1), model, and how it wants to be asked, which `probe` finds out."""

    url: str
    model: str = ""
    chat: bool = False
    extras: bool = True  # understands ignore_eos
    timeout: float = TIMEOUT_S

    @property
    def base(self) -> str:
        return self.url.rstrip("/").removesuffix("/v1") + "/v1"

    def body(self, prompt: str, output_tokens: int) -> dict[str, Any]:
        asked = {"messages": [{"role": "user", "content": prompt}]} if self.chat else {"prompt": prompt}
        extras = {"ignore_eos": True} if self.extras else {}
        return {"model": self.model, **asked, "max_tokens": output_tokens, "temperature": 0.0, "stream": True,
                "stream_options": {"include_usage": True}, **extras}  # fmt: skip

    @property
    def route(self) -> str:
        return f"{self.base}/{'chat/completions' if self.chat else 'completions'}"


@dataclass(slots=True)
class Load:
    """What came of a load. `seconds`: from the first request to the last answer."""

    schedule: Schedule
    answers: list[Answer] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def completed(self) -> list[Answer]:
        return [answer for answer in self.answers if not answer.error]


_CONNECTIONS = 3  # that one request is sent on at most


def _session(server: Server) -> aiohttp.ClientSession:
    key = os.environ.get("OPENAI_API_KEY", "")
    return aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=aiohttp.ClientTimeout(total=server.timeout, sock_connect=10),
        connector=aiohttp.TCPConnector(limit=0),
    )


class _Refused(Exception):
    """An answer that is none: the HTTP status, and the beginning of what was said."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {scrub(' '.join(text.split())[:200])}")
        self.status = status


async def ask(session: aiohttp.ClientSession, server: Server, prompt: str, output_tokens: int, start: float) -> Answer:
    """One request. Never raises: what went wrong stands in the answer's `error`.

    Where the server closed a kept connection meanwhile, as llama-server does, it is sent on another, and timed from then on.
    """
    tries = 0
    while True:
        tries += 1
        sent = time.perf_counter() - start
        try:
            return await _asked(session, server, prompt, output_tokens, start, sent)
        except TimeoutError:
            return Answer(sent, error=f"timeout after {server.timeout:g} s")
        except (_Refused, aiohttp.ClientError, ValueError, OSError) as error:
            if tries == _CONNECTIONS or not _was_closed(error):
                return Answer(sent, error=str(error) or type(error).__name__)


def _was_closed(error: Exception) -> bool:
    """Whether a connection was lost before an answer began, and not for want of a server."""
    lost = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
    return lost and not isinstance(error, aiohttp.ClientConnectorError)


async def _asked(session: aiohttp.ClientSession, server: Server, prompt: str, output_tokens: int, start: float, sent: float) -> Answer:
    first = last = 0.0
    gaps: list[float] = []
    usage: dict[str, Any] = {}
    async with session.post(server.route, json=server.body(prompt, output_tokens)) as response:
        if response.status != 200:
            raise _Refused(response.status, await response.text())
        async for arrived, event in _events(response.content, start):
            if isinstance(event.get("error"), dict | str):
                raise _Refused(500, str(event["error"]))
            usage = event.get("usage") or usage
            if _says(event):
                if first:
                    gaps.append(arrived - last)
                else:
                    first = arrived
                last = arrived
    if not usage:
        raise ValueError("the server reports no usage while it streams, so its tokens cannot be counted")
    if not first:
        raise ValueError("the answer is empty")
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return Answer(sent, first, last, tuple(gaps), int(usage["prompt_tokens"]), int(usage["completion_tokens"]), int(cached))


async def _events(content: aiohttp.StreamReader, start: float) -> AsyncIterator[tuple[float, dict[str, Any]]]:
    """Server-sent events with the time at which their last byte came."""
    rest = b""
    async for block in content.iter_any():
        arrived = time.perf_counter() - start
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            said = line.strip().removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
            if said and said != b"[DONE]":
                event = json.loads(said)
                if isinstance(event, dict):
                    yield arrived, event


def _says(event: dict[str, Any]) -> bool:
    """Whether a chunk brings text: of an answer or of the thought before it."""
    for choice in event.get("choices") or ():
        delta = choice.get("delta") or choice
        if delta.get("text") or delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning") or delta.get("tool_calls"):
            return True
    return False


async def probe(server: Server, prompter: Prompter) -> tuple[Server, Prompter]:
    """The server as it wants to be asked, and prompts for its tokenizer. Raises RunError where it cannot be measured."""
    async with _session(server) as session:
        if not server.model:
            server = replace(server, model=await _first_model(session, server))
        first = await ask(session, server, prompter.prompt(_LENGTHS[0], 0), 2, time.perf_counter())
        if first.error.startswith(("HTTP 404", "HTTP 405")) and not server.chat:
            server = replace(server, chat=True)
            first = await ask(session, server, prompter.prompt(_LENGTHS[0], 0), 2, time.perf_counter())
        if first.error.startswith(("HTTP 400", "HTTP 422")):
            server = replace(server, extras=False)
            first = await ask(session, server, prompter.prompt(_LENGTHS[0], 0), 2, time.perf_counter())
        second = await ask(session, server, prompter.prompt(_LENGTHS[1], 1), 2, time.perf_counter())
    for answer in (first, second):
        if answer.error:
            raise RunError(f"{server.base} cannot be measured ({answer.error}); is the server ready, and does it speak OpenAI's API?")
    return server, prompter.fitted((_LENGTHS[0], first.prompt_tokens), (_LENGTHS[1], second.prompt_tokens))


async def _first_model(session: aiohttp.ClientSession, server: Server) -> str:
    try:
        async with session.get(f"{server.base}/models") as response:
            listed = (await response.json(content_type=None))["data"]
            return str(listed[0]["id"])
    except (aiohttp.ClientError, ValueError, KeyError, IndexError, TypeError, TimeoutError, OSError) as error:
        why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise RunError(f"{server.base} lists no model ({scrub(why)}); is the server ready? Name a model otherwise.") from error


Enough = Callable[[Sequence[Answer]], bool]
Tell = Callable[[int, int], None]  # requests answered, of how many


async def drive(
    server: Server,
    schedule: Schedule,
    prompter: Prompter,
    *,
    enough: Enough | None = None,
    tell: Tell | None = None,
    warm_up: int = WARM_UP,
) -> Load:
    """Runs a load after a warm-up that does not count; stops to ask when `enough` says so, and waits for what is under way.

    Raises RunError where nothing was answered.
    """
    load = Load(schedule)
    prompts = iter(range(10, 10_000_000))
    async with _session(server) as session:

        async def one(request: Request, start: float) -> Answer:
            return await ask(session, server, prompter.prompt(request.prompt_tokens, next(prompts)), request.output_tokens, start)

        warm = schedule.requests[0]
        users = schedule.users if schedule.kind == "closed" else 1
        for _ in range(warm_up):
            await asyncio.gather(*(one(warm, 0.0) for _ in range(users)))
        start = time.perf_counter()

        def done(answer: Answer) -> None:
            load.answers.append(answer)
            if tell:
                tell(len(load.answers), len(schedule.requests))

        def stop() -> bool:
            lost = len(load.answers) >= 2 * max(users, 4) and not load.completed  # the server is gone
            return lost or bool(enough and enough(load.completed))

        queue = iter(schedule.requests)
        if schedule.kind == "closed":

            async def user() -> None:
                for request in queue:
                    done(await one(request, start))
                    if stop():
                        return

            await asyncio.gather(*(user() for _ in range(users)))
        else:

            async def timed(request: Request) -> None:
                done(await one(request, start))

            tasks = []
            for request in queue:
                await asyncio.sleep(max(0.0, (request.at or 0.0) - (time.perf_counter() - start)))
                if stop():
                    break
                tasks.append(asyncio.create_task(timed(request)))
            await asyncio.gather(*tasks)
    if not load.completed:
        why = load.answers[-1].error if load.answers else "no request was made"
        raise RunError(f"Nothing was completed: all of {len(load.answers)} requests failed ({why}).")
    load.seconds = max(a.last for a in load.completed) - min(a.sent for a in load.completed)
    return load


__all__ = ["Answer", "Load", "Server", "ask", "drive", "probe"]
