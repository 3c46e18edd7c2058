"""A goal as the controls of a page: names in a link made exact, choices in words, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core import choices
from core.catalog import instances, links
from core.errors import RoofcastError
from core.goal import LISTS, Goal, goal
from core.solve_words import OBJECTIVES, SIDE_NAMES

OWNED = "owned."
TIMES = {"mean": "on average", "p90": "9 of 10 requests", "p95": "19 of 20 requests", "p99": "99 of 100 requests"}
FLOORS = {"negligible": "negligible (under 3 points)", "acceptable": "acceptable (under 10)", "concerning": "concerning (under 15)",
          "any": "any"}  # fmt: skip
# Control → what its choices are called.
WORDS: dict[str, Mapping[str, str]] = {"hardware": SIDE_NAMES, "objective": OBJECTIVES, "times_at": TIMES, "quality_floor": FLOORS}  # type: ignore[dict-item]
NUMBERS = ("prompt_tokens", "output_tokens", "context_tokens", "users", "request_rate_per_s", "max_ttft_s", "min_decode_tok_s",
           "max_latency_s", "min_output_tok_s", "max_usd_per_month", "max_purchase_usd", "max_power_w", "max_devices", "max_machines",
           "utilisation", "electricity_usd_per_kwh", "owned.count", "owned.ram_gb")  # fmt: skip
SWITCHES = ("open_users", "have_host", "offload", "pessimistic", "sure")
NAMES = ("models", "devices", "runtimes", "providers", "owned.device", "owned.cpu", "owned.link", "region", *WORDS)
CONTROLS = frozenset((*NUMBERS, *SWITCHES, *NAMES))


def providers() -> list[str]:
    return sorted({row.provider for row in instances.instances() if not row.unsupported})


def card_links() -> list[str]:
    """What joins cards of one machine, as people call it."""
    return [entry.name for entry in links.links().values() if entry.kind in ("pcie", "nvlink", "nvlink-bridge", "xgmi")]


def exact_link(asked: Mapping[str, list[str]]) -> tuple[dict[str, list[str]], list[str]]:
    """What a link sets, as the controls write it, and a sentence for each that cannot be meant."""
    kept: dict[str, list[str]] = {}
    notices: list[str] = []
    for key, texts in asked.items():
        if key not in CONTROLS:
            notices.append(f"The link sets “{key}”, which is no control of this page; it was ignored.")
            continue
        for text in texts:
            try:
                kept.setdefault(key, []).append(_exact(key, text))
            except RoofcastError as error:
                notices.append(f"The link's “{key}” was ignored: {error}")
    return {key: texts for key, texts in kept.items() if texts}, notices


def _exact(key: str, text: str) -> str:
    if key == "models":
        return str(choices.exact("model", text))
    if key in ("devices", "owned.device"):
        return str(choices.exact("device", text))
    if key == "owned.cpu":
        return str(choices.exact("cpu", text))
    if key == "owned.link":
        return links.link(text).name
    if key == "runtimes":
        return str(choices.exact("runtime", text))
    if key in SWITCHES:
        return "true" if text.casefold() in ("1", "true") else "false"
    return WORDS[key].get(text, text) if key in WORDS else text


def goal_of(given: Mapping[str, Any]) -> Goal:
    """The goal that controls ask; empty ones ask nothing. Raises ScenarioError."""
    raw: dict[str, Any] = {}
    for key, item in given.items():
        if item is None or item == "" or item == []:
            continue
        said = _raw(key, item)
        if key.startswith(OWNED):
            raw.setdefault("owned", {})[key.removeprefix(OWNED)] = said
        else:
            raw[key] = said
    if "device" not in raw.get("owned", {}):
        raw.pop("owned", None)
        raw["hardware"] = [side for side in raw.get("hardware", ["build", "cloud"]) if side != "owned"] or ["build", "cloud"]
    return goal(raw)


def _raw(key: str, item: Any) -> Any:
    """A choice in the goal's own word."""
    if key not in WORDS:
        return item
    back = {title: name for name, title in WORDS[key].items()}
    return [back.get(one, one) for one in item] if key in LISTS else back.get(item, item)
