"""The question from the other side: what is wanted, and the solver says what to buy, rent or run.

A goal is at the edge between people and the core, so fields with a unit carry it in their name, as files and links do. `None`
means that nothing is asked of that kind; an empty list means anything the catalog knows.
"""

from __future__ import annotations

import json
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from core.errors import ScenarioError
from core.scenario import MAX_TOKENS, System, Workload, sentence

Side = Literal["owned", "build", "cloud"]
Tier = Literal["negligible", "acceptable", "concerning", "any"]
Objective = Literal["cost", "throughput", "latency", "model_size", "throughput_per_usd", "throughput_per_w", "context"]
SIDES: tuple[Side, ...] = ("owned", "build", "cloud")
# Percentiles at which a target on times is held; "mean" is what the estimator itself gives, the others come by a closed form.
At = Literal["mean", "p90", "p95", "p99"]

_OWNED = "owned."  # what the owned machine's fields begin with in a link


class Goal(BaseModel):
    """What is wanted of which models, under which load, on what kind of hardware, at what cost. Immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    models: tuple[str, ...] = Field(min_length=1, max_length=24)
    # load: users who ask again as soon as they are answered, or requests at random
    prompt_tokens: int = Field(1024, ge=1, le=MAX_TOKENS)
    output_tokens: int = Field(256, ge=1, le=MAX_TOKENS)
    context_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)  # room that each conversation must have; None: what the load needs
    users: int = Field(1, ge=1, le=1_000_000)
    open_users: bool = False  # as many as a machine serves best: 1, 2, 4 … for each replica, whose cache holds all of them
    request_rate_per_s: float | None = Field(None, gt=0, le=1_000_000)
    # targets
    max_ttft_s: float | None = Field(None, gt=0)
    max_tpot_ms: float | None = Field(None, gt=0)
    min_decode_tok_s: float | None = Field(None, gt=0)  # that one user sees
    max_latency_s: float | None = Field(None, gt=0)
    min_output_tok_s: float | None = Field(None, gt=0)  # of all users together
    times_at: At = "mean"
    sure: bool = False  # targets must hold at the bad end of ranges, too, not at the median alone
    quality_floor: Tier = "negligible"
    accept_unknown_quality: bool = True  # quantisations whose loss nobody measured, from four bits a weight on
    # what it may take
    max_usd_per_month: float | None = Field(None, gt=0)
    max_purchase_usd: float | None = Field(None, gt=0)
    max_power_w: float | None = Field(None, gt=0)
    # hardware
    hardware: tuple[Side, ...] = SIDES
    owned: System | None = None
    owned_usd_per_h: float | None = Field(None, ge=0)  # what an hour of such a machine is reckoned at: then as many as needed may run
    devices: tuple[str, ...] = ()  # only these
    providers: tuple[str, ...] = ()
    region: str | None = None  # part of a region's name; a price without a region always counts
    terms: tuple[Literal["on demand", "spot", "reserved", "serverless"], ...] = ("on demand",)
    have_host: bool = False  # a machine to put cards into is there: a build costs its cards alone
    max_devices: int = Field(8, ge=1, le=576)  # of one machine
    max_machines: int = Field(64, ge=1, le=4096)
    # configurations
    runtimes: tuple[str, ...] = ()
    quants: tuple[str, ...] = ()
    kv_dtypes: tuple[str, ...] = ()  # empty: the runtime's own
    offload: bool = True  # weights may lie in host memory
    # what is best
    objective: Objective = "cost"
    pessimistic: bool = True  # rank by the slow end of speeds and the full end of memory
    utilisation: float | None = Field(None, gt=0, le=1)  # share of what a replica can serve that is planned for; None: see `share`
    top: int = Field(5, ge=1, le=100)
    # money
    electricity_usd_per_kwh: float | None = Field(None, ge=0)
    life_years: float = Field(3.0, gt=0, le=50)

    @field_validator("models", "hardware", "devices", "providers", "terms", "runtimes", "quants", "kv_dtypes", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        """One name stands for a list of one; what is named twice counts once."""
        listed = [given] if isinstance(given, str) else given
        return tuple(dict.fromkeys(listed)) if isinstance(listed, (list, tuple)) else listed

    @model_validator(mode="after")
    def _consistent(self) -> Goal:
        if self.context_tokens is not None and self.context_tokens < self.prompt_tokens + self.output_tokens:
            raise ValueError(
                f"a context of {self.context_tokens:,} tokens is too short for a prompt of {self.prompt_tokens:,} and an answer of "
                f"{self.output_tokens:,}"
            )
        if self.hardware == ("owned",) and self.owned is None:
            raise ValueError("say which hardware is owned, or look among builds and cloud instances too")
        if self.request_rate_per_s is not None and self.users > 1:
            raise ValueError("give either users at once or requests a second, not both")
        if self.open_users and (self.users > 1 or self.request_rate_per_s is not None):
            raise ValueError("leave the load out where as many users are wanted as a machine serves (open_users), or turn that off")
        return self

    @property
    def share(self) -> float:
        """The share of what a replica can serve that is planned for: 70 % of random arrivals; users at once are a peak already."""
        return self.utilisation or (0.7 if self.request_rate_per_s is not None else 1.0)

    @property
    def context(self) -> int:
        """Tokens that each conversation has room for; where the longest is wanted, the least of them."""
        return self.context_tokens or self.prompt_tokens + self.output_tokens

    @property
    def tpot_s(self) -> float | None:
        """The longest time of a token, s: the stricter of the two ways to ask for it."""
        asked = [self.max_tpot_ms and self.max_tpot_ms / 1e3, self.min_decode_tok_s and 1 / self.min_decode_tok_s]
        return min((limit for limit in asked if limit), default=None)

    @property
    def several(self) -> bool:
        """Whether more than one user may be asking at a time."""
        return self.users > 1 or self.open_users or self.request_rate_per_s is not None

    def workload(self, machines: int = 1, at_once: int | None = None) -> Workload:
        """The load of one of so many machines that share it alike; `at_once`: its users, where the goal leaves their number open."""
        asked: dict[str, Any] = {"prompt_tokens": self.prompt_tokens, "output_tokens": self.output_tokens}
        if self.request_rate_per_s is not None:
            return Workload(**asked, arrival="open", request_rate_per_s=self.request_rate_per_s / machines)
        return Workload(**asked, concurrency=at_once if self.open_users and at_once else -(-self.users // machines))

    def with_(self, **changes: Any) -> Goal:
        """A copy with changes, validated again. Raises ScenarioError."""
        return goal({**self.model_dump(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `goal` reads back; only what differs from the defaults."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, sort_keys=True)

    def to_query(self) -> str:
        """The goal as a URL query, which `from_query` reads back. Lists stand as repeated keys."""
        flat: list[tuple[str, Any]] = []
        for key, item in self.to_dict().items():
            if key == "owned":
                flat += [(_OWNED + name, part) for name, part in item.items()]
            else:
                flat += [(key, part) for part in item] if isinstance(item, list) else [(key, item)]
        return urlencode([(key, "1" if item is True else "0" if item is False else item) for key, item in flat])


LISTS = tuple(name for name, field in Goal.model_fields.items() if str(field.annotation).startswith("tuple"))


def goal(raw: dict[str, Any]) -> Goal:
    """A validated goal from plain data. Raises ScenarioError: one sentence with the field, its value and what was expected."""
    try:
        return Goal.model_validate(raw)
    except ValidationError as error:
        raise ScenarioError(sentence(error)) from error


def from_query(query: str) -> Goal:
    """A goal from a URL query. Raises ScenarioError."""
    raw: dict[str, Any] = {}
    for key, text in parse_qsl(query.lstrip("?")):
        if key.startswith(_OWNED):
            raw.setdefault("owned", {})[key.removeprefix(_OWNED)] = text
        elif key in LISTS:
            raw.setdefault(key, []).append(text)
        else:
            raw[key] = text
    return goal(raw)
