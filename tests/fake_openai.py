"""An OpenAI-compatible server on loopback that waits as long as it is told, and can be wrong in the ways that servers are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class FakeServer:
    """`first` and `gap`: seconds before the first and each next token. `wrote`: when each answer began and ended, by its own clock."""

    first: float = 0.02
    gap: float = 0.002
    per_word: float = 1.5  # tokens
    around: int = 4  # tokens beside those of the words
    in_a_chunk: int = 1  # tokens
    usage: bool = True
    chat_only: bool = False
    strict: bool = False  # refuses what OpenAI's API does not have
    fails_after: int | None = None  # answers, then HTTP 500
    stops_after: int | None = None  # tokens, whatever was asked
    drops_kept: bool = False  # closes a connection on which a second request comes, without a word
    connections: set[int] = field(default_factory=set)
    asked: list[dict[str, Any]] = field(default_factory=list)
    wrote: list[tuple[float, float]] = field(default_factory=list)
    busy: int = 0
    most_busy: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "fake-model"}]})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if self.drops_kept and request.transport is not None:
            if id(request.transport) in self.connections:
                request.transport.close()
                return web.Response()
            self.connections.add(id(request.transport))
        self.asked.append(body)
        if self.chat_only and "messages" not in body:
            return web.Response(status=404, text="Not Found")
        if self.strict and "ignore_eos" in body:
            return web.Response(status=400, text="Unrecognized request argument supplied: ignore_eos")
        if self.fails_after is not None and len(self.asked) > self.fails_after:
            return web.Response(status=500, text="CUDA out of memory")
        prompt = body["prompt"] if "prompt" in body else body["messages"][0]["content"]
        tokens = min(body["max_tokens"], self.stops_after or body["max_tokens"])
        counts = {"prompt_tokens": round(len(prompt.split()) * self.per_word) + self.around, "completion_tokens": tokens}
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        began = 0.0
        try:
            for at in range(0, tokens, self.in_a_chunk):
                await asyncio.sleep(self.gap * min(self.in_a_chunk, tokens - at) if at else self.first)
                began = began or time.perf_counter()
                choice = {"delta": {"content": "w "}} if "messages" in body else {"text": "w "}
                await self._say(response, {"choices": [{"index": 0, **choice}]})
            self.wrote.append((began, time.perf_counter()))
            await self._say(response, {"choices": [], **({"usage": counts} if self.usage else {})})
            await response.write(b"data: [DONE]\n\n")
        finally:
            self.busy -= 1
        return response

    async def _say(self, response: web.StreamResponse, event: dict[str, Any]) -> None:
        await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes([web.get("/v1/models", self.models), web.get("/health", self.models)])
        app.add_routes([web.post("/v1/completions", self.answer), web.post("/v1/chat/completions", self.answer)])
        return app


@contextlib.contextmanager
def serving(fake: FakeServer) -> Iterator[FakeServer]:
    """Runs the server in a thread, on a free port."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(fake.app(), access_log=None, shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        fake.port = runner.addresses[0][1]

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
