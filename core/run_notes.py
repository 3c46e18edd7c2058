"""Launch facts that runs state only in free text (notes, version), read by fixed patterns: inputs, never results.

Notes also hold measured figures; nothing here matches them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Knobs = dict[str, Any]  # flat knobs of a Scenario
# What a decode column counts: one sequence, all of the batch while they decode, or all output over all time.
DecodeIs = Literal["one", "batch", "system"]


@dataclass(slots=True)
class Hints:
    """What the text says. `share` scales nominal lengths; `workers`: decode workers (count, tensor, data parallel).

    `turn`: a later turn of a conversation, and how many tokens of its prompt are new where the engine kept the rest.
    """

    knobs: Knobs = field(default_factory=dict)
    prompt: float | None = None
    output: float | None = None
    share: float = 1.0
    spread: bool = False  # lengths differ from request to request
    turn: int | None = None
    split_unknown: bool = False
    workers: tuple[int, int, int] | None = None
    prefill_workers: int = 0
    decode_is: DecodeIs | None = None
    assumed: list[str] = field(default_factory=list)
    unmodelled: list[str] = field(default_factory=list)


# LocalScore always runs the same nine pairs of prompt and output lengths and reports the mean over them.
_LOCALSCORE = (
    (1024, 16),
    (4096, 256),
    (2048, 256),
    (2048, 768),
    (1024, 1024),
    (1280, 3072),
    (384, 1152),
    (64, 1024),
    (16, 1536),
)
# What a later turn of local-llm-bench's scripted conversation adds to its prompt, the previous answer not counted: the
# growth of prompt_tokens less output_tokens is 313 on average over the runs that state both (assumption).
_NEW_IN_TURN = 300
_SHAREGPT = (225, 205)  # mean tokens of its conversations, as serving benchmarks that use it report them


def _localscore(h: Hints, _: re.Match[str]) -> None:
    h.prompt = sum(p for p, _ in _LOCALSCORE) / len(_LOCALSCORE)
    h.output = sum(o for _, o in _LOCALSCORE) / len(_LOCALSCORE)
    h.assumed.append("LocalScore's nine workloads are taken as one of their mean lengths")


def _sharegpt(h: Hints, _: re.Match[str]) -> None:
    h.prompt, h.output = _SHAREGPT
    h.spread = True
    h.assumed.append("ShareGPT prompts are taken at their mean lengths")


def _lengths_on_site(h: Hints, m: re.Match[str]) -> None:
    h.prompt, h.output = float(m[1]), float(m[2])
    h.assumed.append(f"lengths are those the source states elsewhere ({m[1]} in, {m[2]} out)")


def _later_turn(h: Hints, _: re.Match[str]) -> None:
    h.turn = _NEW_IN_TURN


def _range_ratio(h: Hints, m: re.Match[str]) -> None:
    low = float(m[1])
    if 0 < low <= 1:
        h.share, h.spread = (1 + low) / 2, low < 1
        h.assumed.append(f"lengths are drawn from {low:.0%} to 100 % of the nominal: taken at {h.share:.0%}")


def _lengths_vary(h: Hints, _: re.Match[str]) -> None:
    h.spread = True


def _disaggregated(h: Hints, m: re.Match[str]) -> None:
    prefill, p_tp, p_dp, decode, tp, dp = (int(g) for g in m.groups())
    h.workers, h.prefill_workers = (decode, tp, dp), prefill * p_tp * p_dp


def _parallel(h: Hints, m: re.Match[str]) -> None:
    h.knobs["tp"] = int(m[1])
    h.knobs["pp"] = int(m[2]) if m[2] else 1


def _set(name: str, convert: Callable[[str], Any] = int) -> Callable[[Hints, re.Match[str]], None]:
    def put(h: Hints, m: re.Match[str]) -> None:
        h.knobs[name] = convert(m[1])

    return put


def _fix(name: str, fixed: Any) -> Callable[[Hints, re.Match[str]], None]:
    def put(h: Hints, _: re.Match[str]) -> None:
        h.knobs[name] = fixed

    return put


def _unmodelled(sentence: str) -> Callable[[Hints, re.Match[str]], None]:
    return lambda h, _: h.unmodelled.append(sentence)


def _unknown_split(h: Hints, _: re.Match[str]) -> None:
    h.split_unknown = True


def _decode_is(what: DecodeIs) -> Callable[[Hints, re.Match[str]], None]:
    def put(h: Hints, _: re.Match[str]) -> None:
        h.decode_is = what

    return put


LENGTHS_VARY = "lengths vary"  # from request to request, the stated ones being their means
NO_KV_CACHE = "The run recomputes every token (KV cache off), which the estimate does not cover."
SPECULATIVE = "speculative decoding is not modelled: predicted without it"
AGENTIC = "multi-turn reuse of prefixes is not modelled: predicted as single requests"

_IN_NOTES: tuple[tuple[str, Callable[[Hints, re.Match[str]], None]], ...] = (
    (r"^SPECDEC\b|SPECULATIVE decode", _unmodelled(SPECULATIVE)),
    (r"^AGENTIC\b", _unmodelled(AGENTIC)),
    (r"(?i)KV cache (?:disabled|off)\b", _unmodelled(NO_KV_CACHE)),
    (r"prefill (\d+)x\(tp(\d+),dp(\d+)\) decode (\d+)x\(tp(\d+),dp(\d+)\)", _disaggregated),
    (r"range_ratio (\d(?:\.\d+)?)", _range_ratio),
    (rf"\b{LENGTHS_VARY}\b", _lengths_vary),
    (r"TP/PP not published", _unknown_split),
    (r"\bShareGPT\b", _sharegpt),
    (r"\blater turns may reuse prompt cache\b", _later_turn),
    (r"length not stated \(ISL/OSL (\d+)/(\d+)", _lengths_on_site),
    (r"\bnum_ctx (?:allocated )?(\d+)", _set("max_context")),
    (r"\bctx(?:_limit)?=(\d+)", _set("max_context")),
    (r"llama-bench n_batch=(\d+)", _set("token_budget")),
    (r"\bmax_num_seqs (\d+)", _set("max_sequences")),
    (r"\bheld back (\d+(?:\.\d+)?) steps", _set("held_steps", float)),
    (r"\bn_cpu_moe (\d+)", _set("experts_on_cpu")),
    (r"\baggregate over \w+ sequences", _decode_is("batch")),
    (r"\baggregate output tok/s (?:over|across) (?:all )?streams", _decode_is("system")),
    (r"layer-split multi-GPU", _fix("split", "layer")),
    (r"(?i)\bRPC\b", _fix("devices_per_node", 1)),
)
_IN_VERSION: tuple[tuple[str, Callable[[Hints, re.Match[str]], None]], ...] = (
    (r"^LocalScore\b", _localscore),
    (r"\+spec\b", _unmodelled(SPECULATIVE)),
    (r"\btp(\d+)(?: pp(\d+))?\b", _parallel),
    (r"\bTP(\d+)()\b", _parallel),
    (r"(?i)\bRPC\b", _fix("devices_per_node", 1)),
)
_IN_EITHER: tuple[tuple[str, Callable[[Hints, re.Match[str]], None]], ...] = (
    (r"(?i)enforce[-_]eager", _fix("cuda_graphs", False)),
    (r"max[-_]model[-_]len[ =](\d+)", _set("max_context")),
    (r"gpu[-_]memory[-_]utilization[ =](\d(?:\.\d+)?)", _set("memory_fraction", float)),
    (r"max[-_]num[-_]batched[-_]tokens[ =](\d+)", _set("token_budget")),
    (r"power[- ]limit(?:ed)?[ =](\d+(?:\.\d+)?) ?W\b", _set("device_power_w", float)),
)


def read_hints(notes: str, version: str) -> Hints:
    """The launch facts in a run's notes and version text."""
    hints = Hints()
    for text, patterns in ((notes, _IN_NOTES), (version, _IN_VERSION), (notes, _IN_EITHER), (version, _IN_EITHER)):
        for pattern, act in patterns:
            if text and (match := re.search(pattern, text)):
                act(hints, match)
    hints.unmodelled = list(dict.fromkeys(hints.unmodelled))
    return hints


# Phrases that say which metrics of a run mean something else (core.validate), and no launch fact.
_MEANINGS = (r"= \(prompt\+\d+\)/time", r"prefix caching of the shared")


def plain_notes(notes: str) -> str:
    """The notes' launch facts alone, as the terms by which they are recognised: `read_hints` reads the same from both."""
    patterns = [pattern for pattern, _ in (*_IN_NOTES, *_IN_EITHER)]
    found = [match[0] for pattern in (*patterns, *_MEANINGS) if (match := re.search(pattern, notes))]
    return "; ".join(dict.fromkeys(found))


def plain_version(version: str) -> str:
    """The version without headings that were copied into brackets, of which only the launch facts stay."""

    def facts(match: re.Match[str]) -> str:
        if " / " not in match[0]:
            return match[0]
        return " RPC" if re.search(r"(?i)\bRPC\b", match[0]) else ""

    return re.sub(r"\s*\[[^\]]*\]", facts, version).strip()
