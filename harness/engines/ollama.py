"""Ollama by its own API, whose answers carry their timings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests

from core.errors import RunError
from core.importers.document import Document
from core.importers.servers import ollama
from harness.engines.base import Point, Result, Session
from harness.engines.server import lengths, who
from harness.failures import Failure, kind_of
from harness.prompts import Prompter
from harness.record import last_words
from harness.stats import spread

URL = "http://127.0.0.1:11434"
_TIMINGS = (
    "model",
    "created_at",
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
)


@dataclass(frozen=True)
class Ollama:
    """One sequence at a time, by the timings that Ollama itself takes."""

    name: str = "ollama"
    about: str = "Ollama's own timings of one sequence, by its API"
    runtime: str = "ollama"

    def missing(self) -> str:
        return "" if who(URL)[0] == "ollama" else f"no Ollama answers at {URL}: start it with `ollama serve`, or say where it is with url"

    def measure(self, point: Point, session: Session) -> Result:
        model = point.text("api_model") or point.needed("model_name_raw", "llama3.1:8b")
        url = point.text("url", URL).rstrip("/")
        prompt, output = lengths(point)
        context = point.whole("max_context") or prompt + output + 64
        version = who(url)[1]
        prompter = Prompter(session.seed)
        first, second = (self._ask(url, model, prompter.prompt(words, at), 1, context, point) for at, words in enumerate((40, 240)))
        prompter = prompter.fitted((40, int(first["prompt_eval_count"])), (240, int(second["prompt_eval_count"])))
        answers: list[dict[str, Any]] = []
        decode: list[float] = []
        while not session.repeats.enough(decode):
            text = prompter.prompt(prompt, 10 + len(answers))
            answers.append(self._ask(url, model, text, output, context, point))
            decode = [1e9 * a["eval_count"] / a["eval_duration"] for a in answers if a.get("eval_count") and a.get("eval_duration")]
            session.tell(len(answers), session.repeats.most)
            if len(answers) > len(decode):
                raise Failure("other", "an answer counted no tokens")
        row = self._row(answers)
        row |= {"model_id": point.text("model_id"), "model_name_raw": model, "runtime_version": version, "notes": f"num_ctx {context}"}
        return Result([row], "ollama", repeats={"decode_toks_sec": tuple(decode)}, spread={"decode_toks_sec": spread(decode)})

    def _row(self, answers: list[dict[str, Any]]) -> dict[str, Any]:
        """All answers as one run, though their prompts differ by a few tokens."""
        counts = sorted(int(a["prompt_eval_count"]) for a in answers)
        outputs = sorted(int(a["eval_count"]) for a in answers)
        middle = {"prompt_eval_count": counts[len(counts) // 2], "eval_count": outputs[len(outputs) // 2]}
        same = [
            {**a, **middle, "prompt_eval_duration": a["prompt_eval_duration"] * middle["prompt_eval_count"] / a["prompt_eval_count"],
             "eval_duration": a["eval_duration"] * middle["eval_count"] / a["eval_count"]}
            for a in answers
        ]  # fmt: skip
        found = Document("ollama", "")
        found.objects = [("", answer) for answer in same]  # type: ignore[misc]
        return ollama(found)[0][1]()

    def _ask(self, url: str, model: str, prompt: str, output: int, context: int, point: Point) -> dict[str, Any]:
        """The timings of one answer; its text is dropped here. Raises Failure."""
        options = {"num_predict": output, "num_ctx": context, "temperature": 0, "seed": 1}
        if point.text("n_gpu_layers"):
            options["num_gpu"] = point.whole("n_gpu_layers")
        if point.text("threads"):
            options["num_thread"] = point.whole("threads")
        body = {"model": model, "prompt": prompt, "raw": True, "stream": False, "options": options}
        try:
            answer = requests.post(f"{url}/api/generate", json=body, timeout=point.timeout)
            content = answer.json()
        except requests.Timeout:
            raise Failure("timeout", f"no answer in {point.timeout:g} s") from None
        except (requests.RequestException, ValueError) as error:
            raise Failure("server_died", last_words(str(error))) from error
        if answer.status_code != 200 or not isinstance(content, dict):
            words = str(content.get("error") if isinstance(content, dict) else content)
            raise Failure(kind_of(words) or "other", last_words(words))
        found = {name: content[name] for name in _TIMINGS if name in content}
        if not found.get("prompt_eval_count"):
            raise Failure("other", "Ollama did not evaluate the prompt: it answered from its cache")
        return found


ENGINES: tuple[Callable[[], Any], ...] = (Ollama,)
__all__ = ["ENGINES", "Ollama", "RunError"]
