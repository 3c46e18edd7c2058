"""The command line's options for a scenario: one table of knobs, and from their values to a Scenario."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from core.errors import ScenarioError

if TYPE_CHECKING:
    from core.scenario import Scenario

MACHINE, LAYOUT, LOAD, COSTS = "Machine", "Layout", "Load", "Money and energy"
OUTPUT_TOKENS = 128  # asked for where nobody says


@dataclass(frozen=True, slots=True)
class Option:
    """One option and the scenario knob that it sets; `flags` as typed, the first names it in messages."""

    knob: str
    flags: tuple[str, ...]
    kind: type
    panel: str
    help: str

    @property
    def parameter(self) -> inspect.Parameter:
        option = typer.Option(None, *self.flags, help=self.help, rich_help_panel=self.panel, show_default=False)
        return inspect.Parameter(self.knob, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=self.kind | None)


def _o(knob: str, flags: str, kind: type, panel: str, text: str) -> Option:
    return Option(knob, tuple(flags.split()), kind, panel, text)


OPTIONS = (
    _o("model", "--model -m", str, MACHINE, 'The model, as people call it ("llama 3.1 8b") or by its Hugging Face id.'),
    _o("device", "--gpu --device -g", str, MACHINE, 'The device ("RTX 4090", "M4 Max"). Without it --cpu or --system.'),
    _o("count", "--count -n", int, MACHINE, "How many of them. (default: 1)"),
    _o("others", "--and", str, MACHINE, "Further cards: 'RTX 3060', or '2x RTX 3060 via oculink + Tesla P40'."),
    _o("profile", "--system", str, MACHINE, "A shipped machine, such as dual-4090-epyc (see roofcast hardware)."),
    _o("instance", "--instance", str, MACHINE, "A cloud instance, such as p4d.24xlarge (see roofcast instances)."),
    _o("cpu", "--cpu", str, MACHINE, "The host's CPU; alone, a run without GPU."),
    _o("ram_gb", "--ram", float, MACHINE, "Host memory in GB; on a Mac its unified memory."),
    _o("sockets", "--sockets", int, MACHINE, "CPUs on the board, each with its own memory. (default: 1)"),
    _o("ram_bandwidth_gb_s", "--ram-bandwidth", float, MACHINE, "Bandwidth of host memory in GB/s, of all sockets."),
    _o("measured_ram_bandwidth_gb_s", "--measured-ram-bandwidth", float, MACHINE, "The same as a benchmark read it (STREAM)."),
    _o("gpu_share_gib", "--gpu-share", float, MACHINE, "Of RAM, what an integrated GPU may take, in GiB (BIOS, GTT, wired limit)."),
    _o("link", "--link", str, MACHINE, "What joins the devices: nvlink4, pcie-4.0-x16 … (default: the device's own)"),
    _o("host_link", "--host-link", str, MACHINE, "What joins each device to the host, where that is no slot: thunderbolt-4, "
       "oculink, pcie-3.0-x4 …"),
    _o("pcie_gb_s", "--pcie", float, MACHINE, "Host to one device, GB/s in one direction."),
    _o("devices_per_node", "--devices-per-node", int, MACHINE, "Devices within one node."),
    _o("device_memory_gib", "--gpu-memory", float, MACHINE, "Memory of one device in GiB, where you know better."),
    _o("device_bandwidth_gb_s", "--gpu-bandwidth", float, MACHINE, "Memory bandwidth of one device in GB/s."),
    _o("measured_bandwidth_gb_s", "--measured-bandwidth", float, MACHINE, "The same as a benchmark read it."),
    _o("device_power_w", "--power-limit", float, MACHINE, "Power limit set on one device in W (nvidia-smi -pl)."),
    _o("runtime", "--runtime -r", str, LAYOUT, "llama.cpp (default), ollama, mlx, vllm, sglang, tensorrt-llm …"),
    _o("backend", "--backend", str, LAYOUT, "cuda, rocm, vulkan, metal, cpu … (default: what suits the device)"),
    _o("runtime_version", "--runtime-version", str, LAYOUT, "Whose defaults hold. (default: the newest)"),
    _o("quant", "--quant -q", str, LAYOUT, "How weights are stored, see roofcast quants. (default: the runtime's)"),
    _o("kv_dtype", "--kv-dtype", str, LAYOUT, "How keys and values are stored: f16, q8_0, fp8 …"),
    _o("tp", "--tp", int, LAYOUT, "Tensor parallel."),
    _o("mlp_tp", "--mlp-tp", int, LAYOUT, "Tensor parallel of the feed-forward part, where replicas of attention share it."),
    _o("pp", "--pp", int, LAYOUT, "Pipeline parallel; for llama.cpp the cards that layers are split over."),
    _o("dp", "--dp", int, LAYOUT, "Data parallel."),
    _o("ep", "--ep", int, LAYOUT, "Expert parallel."),
    _o("cp", "--cp", int, LAYOUT, "Context parallel."),
    _o("sp", "--sp/--no-sp", bool, LAYOUT, "Sequence parallel norms."),
    _o("split", "--split", str, LAYOUT, "layer or tensor, for llama.cpp on several cards; none for one card alone."),
    _o("tensor_split", "--tensor-split", str, LAYOUT, "Shares of the cards in layers, as in 3,1. (default: by memory)"),
    _o("main_gpu", "--main-gpu", int, LAYOUT, "The card that --split none takes, from 0. (default: 0)"),
    _o("numa", "--numa", str, LAYOUT, "How several sockets are used: distribute, isolate or numactl. (default: not at all)"),
    _o("gpu_layers", "--gpu-layers", int, LAYOUT, "Layers on the device. (default: as many as fit)"),
    _o("experts_on_cpu", "--experts-on-cpu", int, LAYOUT, "Layers whose experts stay in host memory."),
    _o("flash_attention", "--flash-attention/--no-flash-attention", bool, LAYOUT, "Flash attention. (default: on)"),
    _o("max_sequences", "--max-sequences", int, LAYOUT, "Sequences served at once."),
    _o("memory_fraction", "--memory-fraction", float, LAYOUT, "Share of the device that a server takes, 0 to 1."),
    _o("token_budget", "--token-budget", int, LAYOUT, "Tokens in one step (max_num_batched_tokens, n_batch)."),
    _o("micro_batch", "--micro-batch", int, LAYOUT, "llama.cpp's n_ubatch."),
    _o("mla_cache", "--mla-cache", str, LAYOUT, "What an MLA layer keeps of a token: latent, latent_and_values or full."),
    _o("cuda_graphs", "--cuda-graphs/--no-cuda-graphs", bool, LAYOUT, "Captured graphs. (default: the runtime's)"),
    _o("threads", "--threads", int, LAYOUT, "CPU threads."),
    _o("vision", "--vision/--no-vision", bool, LAYOUT, "Hold the model's vision tower. (default: as the runtime does)"),
    _o("held_steps", "--held-steps", float, LAYOUT, "Decode steps for which the engine holds new requests back: half of SGLang's "
       "--scheduler-recv-interval, TensorRT-LLM's batch_wait_timeout_iters. (default: 0)"),
    _o("max_context", "--context -c", int, LOAD,
       "Tokens of context to provide for. Unless --prompt-tokens says otherwise the prompt fills it, so memory and "
       "speed are those at that context."),
    _o("prompt_tokens", "--prompt-tokens -p", int, LOAD, "Tokens of a prompt. (default: what --context leaves beside "
       "output and depth; 512 without --context)"),
    _o("output_tokens", "--output-tokens -o", int, LOAD, f"Tokens of an answer. (default: {OUTPUT_TOKENS})"),
    _o("context_depth", "--context-depth", int, LOAD, "Tokens in the cache before the prompt comes. (default: 0)"),
    _o("prefix_cached_tokens", "--prefix-cached", int, LOAD, "Prompt tokens in the prefix cache. (default: 0)"),
    _o("images", "--images", int, LOAD, "Images in each prompt, beside its tokens. (default: 0)"),
    _o("image_size", "--image-size", str, LOAD, "Pixels of an image, width x height. (default: 1024x1024)"),
    _o("concurrency", "--users -u", int, LOAD, "Users who ask again as soon as they are answered. (default: 1)"),
    _o("request_rate_per_s", "--request-rate", float, LOAD, "Requests a second, arriving at random, instead of users."),
    _o("arrival", "--arrival", str, LOAD, "closed (users), open (--request-rate), static (one batch) or saturated."),
    _o("equal_lengths", "--equal-lengths/--no-equal-lengths", bool, LOAD, "Every answer has the same length, as in many benchmarks."),
    _o("usd_per_h", "--usd-per-hour", float, COSTS, "Rent of the machine; replaces purchase and electricity."),
    _o("purchase_usd", "--price", float, COSTS, "Purchase price in US dollars."),
    _o("life_years", "--life", float, COSTS, "Years over which the price is spread. (default: 3)"),
    _o("use", "--use", float, COSTS, "Share of its life in which the machine works. (default: 0.5)"),
    _o("electricity_usd_per_kwh", "--tariff", float, COSTS, "Electricity, US dollars a kWh. (default: 0.15, a guess)"),
)  # fmt: skip

_FLAG = {option.knob: option.flags[0].split("/")[0] for option in OPTIONS}


def asks(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of a scenario, before its own; it receives their values as `knobs`."""
    signature = inspect.signature(command, eval_str=True)
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in signature.parameters.values() if p.name != "knobs"]

    def run(**values: Any) -> None:
        mine = {p.name: values.pop(p.name) for p in own}
        command(knobs=values, **mine)

    listed = [*(option.parameter for option in OPTIONS), *own]
    run.__signature__ = inspect.Signature(listed)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in listed}
    run.__doc__, run.__name__ = command.__doc__, command.__name__
    return run


def read_scenario(knobs: Mapping[str, Any]) -> Scenario:
    """The scenario that the options name. Raises RoofcastError, one sentence that names the option that is wrong."""
    from core.catalog.models import model
    from core.scenario import from_flat

    given = {knob: amount for knob, amount in knobs.items() if amount is not None}
    if not given.get("model"):
        raise ScenarioError('Say which model with --model, as in --model "llama 3.1 8b"; `roofcast models` lists them.')
    given["model"] = model(given["model"]).id
    _machine(given)
    _context(given)
    if "request_rate_per_s" in given and "arrival" not in given:
        given["arrival"] = "open"
    try:
        return from_flat(given)
    except ScenarioError as error:
        raise ScenarioError(_with_flags(str(error))) from error


def _with_flags(sentence: str) -> str:
    """A sentence about knobs, with the options that set them: at its start, and wherever a name cannot be a word."""
    knob, _, rest = sentence.partition(" ")
    if knob in _FLAG:
        sentence = f"{_FLAG[knob]} {rest}"
    for name, flag in _FLAG.items():
        if "_" in name:
            sentence = re.sub(rf"\b{name}\b", flag, sentence, flags=re.IGNORECASE)
    return sentence


def _machine(given: dict[str, Any]) -> None:
    """Names the devices exactly; takes them from a shipped machine, or the CPU for a run without GPU."""
    from core.cards import JOIN
    from core.catalog import hardware, links
    from core.catalog.own_hardware import listed
    from core.choices import exact_cards, read_kind

    for knob, kind in (("device", None), ("cpu", "cpu")):
        if knob in given:
            if knob == "device" and JOIN in given[knob]:  # "RTX 3090 + RTX 3060": the first kind, and the further ones
                first, _, rest = given[knob].partition(JOIN)
                given["others"] = JOIN.join(filter(None, [rest, given.get("others")]))
                given[knob], many = read_kind(first)
                given.setdefault("count", many)
            given[knob] = listed(hardware.device(given[knob], kind))  # type: ignore[arg-type]
    if given.get("others"):
        given["others"] = exact_cards(given["others"])
    if given.get("host_link"):
        given["host_link"] = links.host_link(given["host_link"]).id
    if "profile" in given:
        profile = hardware.system(given["profile"])
        given["profile"] = profile.id
        found = hardware.device(profile.device)
        if "device" in given and hardware.device(given["device"]).id != found.id:
            raise ScenarioError(f"The machine {profile.id} has {found.name}; leave out either --system or --gpu.")
        given.setdefault("device", found.name)
        given.setdefault("count", profile.count)
        if found.unified or found.kind == "cpu":
            given.setdefault("ram_gb", profile.ram_gb)
    elif "instance" in given:
        _instance(given)
    elif "device" not in given:
        if "cpu" not in given:
            raise ScenarioError('Say which machine with --gpu, --cpu or --system (or a cloud --instance), as in --gpu "RTX 4090".')
        given["device"] = given.pop("cpu")


def _instance(given: dict[str, Any]) -> None:
    """Device and count of a cloud instance; its price and RAM are looked up where the scenario does not say others."""
    from core.catalog import hardware
    from core.catalog.instances import usable

    rented = usable(given["instance"])
    given["instance"] = rented.label
    own = {"device": hardware.device(str(rented.device)).name, "count": rented.count}
    for knob, amount in own.items():
        if given.setdefault(knob, amount) != amount:
            raise ScenarioError(f"{rented.type} has {own['count']} × {own['device']}; leave out either --instance or {_FLAG[knob]}.")


def _images(given: Mapping[str, Any]) -> int:
    """Tokens that the prompt's images take."""
    from core.catalog.models import ir
    from core.scenario import scenario
    from core.vision import tokens_needed

    if not given.get("images"):
        return 0
    load = {knob: given[knob] for knob in ("images", "image_size") if knob in given}
    asked = scenario({"model": given["model"], "system": {"device": ""}, "workload": load})
    return tokens_needed(asked, ir(given["model"])) - asked.workload.context


def _context(given: dict[str, Any]) -> None:
    """Fills in the prompt, so that it fills the context that was asked for."""
    context = given.get("max_context")
    if context is None or context < 1:
        return  # none given, or a figure that the scenario refuses
    pictures = _images(given)
    depth = max(given.get("context_depth", 0), 0) + pictures
    output = given.get("output_tokens", OUTPUT_TOKENS)
    if "prompt_tokens" in given:
        needed = given["prompt_tokens"] + output + depth
        if needed > context:
            images = f" and {pictures:,} of images" if pictures else ""
            raise ScenarioError(f"Prompt, answer and depth{images} need {needed:,} tokens, more than --context {context:,}; raise it.")
        return
    if "output_tokens" not in given:
        output = given["output_tokens"] = min(output, max(1, (context - depth) // 2))
    if context - depth - output < 1:
        raise ScenarioError(
            f"--context {context:,} leaves no room for a prompt beside {output:,} tokens of answer and {depth:,} of depth"
            f"{' and images' if pictures else ''}; raise it."
        )
    given["prompt_tokens"] = context - depth - output
