"""The question: one model on one system with one runtime, laid out in one way, under one load.

A scenario is the edge between people and the core, so fields with a unit carry it in their name, as files and links do.
`None` means "the default of the runtime, the model or the machine": `core.columns` fills it in and says so.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from core.cards import Cards, checked_shares, flat, read_cards, read_shares
from core.errors import ScenarioError

Arrival = Literal["closed", "open", "static", "saturated"]
MlaCache = Literal["latent", "latent_and_values", "full"]

MAX_SIDE = 32_768  # pixels
MAX_TOKENS = 100_000_000  # beyond any model or machine: larger figures are typing errors


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class System(_Part):
    """Devices × count, further cards beside them, links, host. `device` is a catalog name; a CPU means a run without GPU."""

    device: str
    count: int = Field(1, ge=1, le=4096)
    others: tuple[Cards, ...] = Field((), max_length=16)  # cards of other kinds in the same box, in the engine's order
    link: str | None = None  # between devices; None: the device's own interconnect
    host_link: str | None = None  # from the host to each device where that is no slot of its own: an eGPU's cable, a riser
    devices_per_node: int | None = Field(None, ge=1, le=576)
    cpu: str | None = None
    sockets: int | None = Field(None, ge=1, le=8)  # CPUs on the board, each with its own memory; None: one memory
    ram_gb: float | None = Field(None, gt=0, le=100_000)
    ram_bandwidth_gb_s: float | None = Field(None, gt=0, le=100_000)  # nominal, all channels of all sockets
    measured_ram_bandwidth_gb_s: float | None = Field(None, gt=0, le=100_000)  # what a benchmark read; goes before the nominal one
    gpu_share_gib: float | None = Field(None, gt=0, le=100_000)  # of RAM, what a GPU without memory of its own may take
    pcie_gb_s: float | None = Field(None, gt=0, le=10_000)  # host to one device, one direction
    device_memory_gib: float | None = Field(None, gt=0, le=10_000)  # what the user knows better than the catalog
    device_bandwidth_gb_s: float | None = Field(None, gt=0, le=100_000)
    device_power_w: float | None = Field(None, gt=0, le=100_000)  # a limit set on each device
    measured_bandwidth_gb_s: float | None = Field(None, gt=0, le=100_000)  # of a device, what a benchmark read
    profile: str | None = None  # the shipped profile it was made from
    instance: str | None = None  # the cloud instance it is, whose price and RAM count where nothing else is said

    @field_validator("others", mode="before")
    @classmethod
    def _read_others(cls, given: Any) -> Any:
        return read_cards(given) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _share_of_ram(self) -> System:
        if self.gpu_share_gib is not None and self.ram_gb is not None and self.gpu_share_gib > self.ram_gb:
            raise ValueError(f"the GPU's share, gpu_share_gib {self.gpu_share_gib:g}, must not exceed ram_gb {self.ram_gb:g}")
        return self

    @property
    def devices(self) -> int:
        """All devices, of every kind."""
        return self.count + sum(cards.count for cards in self.others)


class Deployment(_Part):
    """How the model is laid on the system. Degrees are counts of devices."""

    quant: str | None = None
    kv_dtype: str | None = None
    tp: int | None = Field(None, ge=1, le=4096)  # tensor parallel
    mlp_tp: int | None = Field(None, ge=1, le=4096)  # that of the feed-forward part, where replicas of attention share it
    pp: int | None = Field(None, ge=1, le=4096)  # pipeline parallel; llama.cpp's layer split is this without pipelined decode
    dp: int | None = Field(None, ge=1, le=4096)  # data parallel: attention replicas (with ep > 1) or whole replicas
    ep: int | None = Field(None, ge=1, le=4096)  # expert parallel
    cp: int | None = Field(None, ge=1, le=4096)  # context parallel
    sp: bool = False  # sequence parallel norms: all-reduce becomes reduce-scatter and all-gather
    split: Literal["layer", "tensor", "none"] | None = None  # "none": one card alone, see main_gpu
    tensor_split: tuple[float, ...] = ()  # shares of the cards in layers, in their order; of a server's pipeline stages too
    main_gpu: int | None = Field(None, ge=0, le=4095)  # the card that split "none" takes, from 0
    numa: Literal["distribute", "isolate", "numactl"] | None = None  # how the engine places threads and pages on several sockets
    gpu_layers: int | None = Field(None, ge=0, le=10_000)
    experts_on_cpu: int | None = Field(None, ge=0, le=10_000)  # layers whose experts stay in host memory (--n-cpu-moe)
    flash_attention: bool = True
    max_context: int | None = Field(None, ge=1, le=MAX_TOKENS)
    max_sequences: int | None = Field(None, ge=1, le=1_000_000)
    memory_fraction: float | None = Field(None, gt=0, le=1)
    token_budget: int | None = Field(None, ge=1, le=MAX_TOKENS)  # tokens in one step: max_num_batched_tokens, n_batch
    micro_batch: int | None = Field(None, ge=1, le=MAX_TOKENS)  # llama.cpp n_ubatch
    cuda_graphs: bool | None = None
    mla_cache: MlaCache | None = None  # what an MLA layer keeps of a token; None: as the runtime does
    threads: int | None = Field(None, ge=1, le=4096)
    vision: bool | None = None  # whether the engine holds the model's vision tower; None: as the runtime does
    held_steps: float | None = Field(None, ge=0, le=10_000)  # decode steps for which a new request is held back, on average

    @field_validator("tensor_split", mode="before")
    @classmethod
    def _read_shares(cls, given: Any) -> Any:
        return read_shares(given) if isinstance(given, str) else given

    @field_validator("tensor_split")
    @classmethod
    def _shares(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        return checked_shares(shares)


class Workload(_Part):
    """What is asked of it. `context_depth` tokens are in each sequence's cache before its prompt comes."""

    prompt_tokens: int = Field(512, ge=1, le=MAX_TOKENS)
    output_tokens: int = Field(128, ge=1, le=MAX_TOKENS)
    context_depth: int = Field(0, ge=0, le=MAX_TOKENS)
    prefix_cached_tokens: int = Field(0, ge=0, le=MAX_TOKENS)
    concurrency: int = Field(1, ge=1, le=1_000_000)
    request_rate_per_s: float | None = Field(None, gt=0, le=1_000_000)
    arrival: Arrival = "closed"
    images: int = Field(0, ge=0, le=1_000)  # in each prompt, beside its prompt_tokens
    image_size: str = "1024x1024"  # pixels, width x height
    equal_lengths: bool = False  # every answer has output_tokens exactly, as in benchmarks that fix them; else that is their mean

    @field_validator("image_size")
    @classmethod
    def _read_size(cls, given: str) -> str:
        sides = re.fullmatch(r"\s*(\d{1,5})\s*[x×X*]\s*(\d{1,5})\s*", given)
        if sides is None or not all(1 <= int(side) <= MAX_SIDE for side in sides.groups()):
            rule = f"width x height in pixels, such as 1024x768, up to {MAX_SIDE:,} each"
            raise ValueError(f"the size of an image (image_size) is {rule} (it is '{given[:40]}')")
        return "x".join(str(int(side)) for side in sides.groups())

    @model_validator(mode="after")
    def _consistent(self) -> Workload:
        if self.prefix_cached_tokens >= self.prompt_tokens + 1:
            raise ValueError("prefix_cached_tokens must not exceed prompt_tokens")
        if self.arrival == "open" and self.request_rate_per_s is None:
            raise ValueError("an open-loop load needs request_rate_per_s")
        return self

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height of an image."""
        width, height = self.image_size.split("x")
        return int(width), int(height)

    @property
    def context(self) -> int:
        """Tokens in a sequence's cache when it ends, without those of images."""
        return self.context_depth + self.prompt_tokens + self.output_tokens


class Costs(_Part):
    """Money and energy. `usd_per_h` (a rented machine) replaces purchase and electricity."""

    usd_per_h: float | None = Field(None, ge=0)
    purchase_usd: float | None = Field(None, ge=0)
    life_years: float = Field(3.0, gt=0, le=50)
    use: float = Field(0.5, gt=0, le=1)  # share of its life in which the machine does useful work
    electricity_usd_per_kwh: float | None = Field(None, ge=0)


class Scenario(_Part):
    """One question to the estimator. Immutable; `with_(**changes)` makes a changed copy."""

    model: str
    system: System
    runtime: str = "llama.cpp"
    backend: str | None = None  # cuda, rocm, vulkan, metal, cpu, sycl; None: what suits the device
    runtime_version: str | None = None
    runtime_date: str | None = Field(None, pattern=r"^\d{4}(-\d{2}(-\d{2})?)?$")  # whose defaults hold, where the version does not say
    deployment: Deployment = Deployment()
    workload: Workload = Workload()
    costs: Costs = Costs()

    def with_(self, **changes: Any) -> Scenario:
        """A copy with changes, flat or by part: `with_(concurrency=8, quant="Q8_0", count=2)`. Validated again.

        Raises ScenarioError for an unknown knob or a value out of range.
        """
        raw = self.model_dump()
        for key, new in changes.items():
            place = PARTS.get(key)
            if key in raw:
                raw[key] = new.model_dump() if isinstance(new, BaseModel) else new
            elif place:
                raw[place][key] = new
            else:
                raise ScenarioError(f"There is no knob '{key}'; the knobs are {', '.join(sorted(PARTS))}.")
        return scenario(raw)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `scenario` reads back; only what differs from the defaults."""
        return self.model_dump(exclude_defaults=True)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, sort_keys=True)

    def to_query(self) -> str:
        """The scenario as a URL query (flat knobs), which `from_query` reads back."""
        knobs: dict[str, Any] = {}
        for key, item in self.to_dict().items():
            knobs.update(item) if isinstance(item, dict) else knobs.update({key: item})
        return urlencode({k: ("1" if v is True else "0" if v is False else flat(v)) for k, v in knobs.items()})


_PART_MODELS: dict[str, type[_Part]] = {"system": System, "deployment": Deployment, "workload": Workload, "costs": Costs}
PARTS = {name: part for part, kind in _PART_MODELS.items() for name in kind.model_fields}

_SAY = {
    "greater_than_equal": "must be {ge} or more",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be {le} or less",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "missing": "is missing",
    "too_short": "needs {min_length} or more",
    "too_long": "must be {max_length} or fewer",
    "extra_forbidden": "is not a knob that exists",
    "literal_error": "must be one of {expected}",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "string_pattern_mismatch": "must be a date such as 2025, 2025-06 or 2025-06-30",
}


def scenario(raw: dict[str, Any]) -> Scenario:
    """A validated scenario from plain data. Raises ScenarioError: one sentence with the field, its value and what was expected."""
    try:
        return Scenario.model_validate(raw)
    except ValidationError as error:
        raise ScenarioError(sentence(error)) from error


def sentence(error: ValidationError) -> str:
    """What is wrong with an input, in a sentence: the field, what was expected, and the value given."""
    first = error.errors()[0]
    name = next((part for part in reversed(first["loc"]) if isinstance(part, str)), "the scenario")
    if first["type"] == "value_error":
        return f"{str(first['ctx']['error'])[0].upper()}{str(first['ctx']['error'])[1:]}."
    known = _SAY.get(first["type"])
    rule = known.format(**first.get("ctx", {})) if known else f"is wrong: {first['msg'].lower()}"
    given = "" if first["type"] in ("missing", "extra_forbidden") else f" (it is {first['input']!r})"
    return f"{name} {rule}{given}."


def from_flat(knobs: dict[str, Any]) -> Scenario:
    """A scenario from flat knobs (command line, URL, form). None and "" mean "not given". Raises ScenarioError."""
    raw: dict[str, Any] = {}
    for key, item in knobs.items():
        if item is None or item == "":
            continue
        if key in PARTS:
            raw.setdefault(PARTS[key], {})[key] = item
        elif key in Scenario.model_fields:
            raw[key] = item
        else:
            raise ScenarioError(f"There is no knob '{key}'; the knobs are {', '.join(sorted([*PARTS, 'model', 'runtime', 'backend']))}.")
    return scenario(raw)


def from_query(query: str) -> Scenario:
    """A scenario from a URL query. Raises ScenarioError."""
    return from_flat(dict(parse_qsl(query.lstrip("?"))))
