"""The numbers of the form: what each is called, what it means, and its bounds. Keys are the scenario's own names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.builds import SLOTS

TOKENS = 100_000_000


@dataclass(frozen=True, slots=True)
class Knob:
    """One number of the form. `default` None shows an empty field: the runtime's, the model's or the machine's."""

    key: str
    label: str
    help: str
    low: Any
    high: Any
    default: Any = None
    step: Any = 1


COUNT = Knob("count", "Count", "Number of these devices in the machine or the cluster.", 1, 4096, 1)
RAM = Knob(
    "ram_gb",
    "RAM, GB",
    "The host's memory. What does not fit on the device may be held here. On a Mac or another machine with unified memory: all of it.",
    0.5,
    100_000.0,
    None,
    8.0,
)
PROMPT = Knob(
    "prompt_tokens",
    "Prompt tokens",
    "What is read before the answer starts. A token is about ¾ of an English word.",
    1,
    TOKENS,
    512,
    128,
)
OUTPUT = Knob("output_tokens", "Answer tokens", "What the model writes.", 1, TOKENS, 128, 64)
IMAGES = Knob(
    "images", "Images", "In each prompt. Each becomes tokens beside those of the prompt, and the vision tower works on it.", 0, 1000, 0
)
USERS = Knob("concurrency", "Users at once", "Each asks again as soon as the answer is complete.", 1, 1_000_000, 1)
RATE = Knob(
    "request_rate_per_s",
    "Requests per second",
    "Requests arrive at random at this mean rate, however busy the machine is.",
    0.0001,
    1_000_000.0,
    1.0,
    0.5,
)

LAYOUT = (
    Knob(
        "tp",
        "Tensor parallel (TP)",
        "Every layer is cut over this many devices: faster, with an exchange in each layer.",
        1,
        4096,
    ),
    Knob(
        "mlp_tp",
        "Feed-forward TP",
        "Attention and the rest cut apart: replicas of attention share the feed-forward part, cut over the ranks of all of them "
        "(SGLang's and TensorRT-LLM's replicated attention). TP times DP. Empty: as attention.",
        1,
        4096,
    ),
    Knob("pp", "Pipeline parallel (PP)", "The layers are dealt out over this many devices, one stage each.", 1, 4096),
    Knob("dp", "Data parallel (DP)", "Copies of the model side by side, each serving a share of the users.", 1, 4096),
    Knob(
        "ep",
        "Expert parallel (EP)",
        "A mixture-of-experts model's experts are dealt out over this many devices.",
        1,
        4096,
    ),
)
MAIN_GPU = Knob("main_gpu", "Which card", "The number of the card that takes all, from 0.", 0, 4095)
OFFLOAD = (
    Knob("gpu_layers", "Layers on the device", "The other layers stay in host memory. Empty: as many as fit.", 0, 10_000),
    Knob(
        "experts_on_cpu",
        "Layers with experts on the CPU",
        "Only the experts of these layers stay in host memory.",
        0,
        10_000,
    ),
)
CACHE = (
    Knob(
        "context_depth",
        "Tokens cached before",
        "What is already in each conversation's cache when the prompt comes.",
        0,
        TOKENS,
        0,
        512,
    ),
    Knob(
        "prefix_cached_tokens",
        "Prompt tokens found in the prefix cache",
        "These need not be read again.",
        0,
        TOKENS,
        0,
        128,
    ),
    Knob(
        "max_context",
        "Longest context",
        "The context with which the runtime is started. Empty: what this load needs, or the runtime's own.",
        1,
        TOKENS,
        None,
        1024,
    ),
    Knob("max_sequences", "Most sequences at once", "More wait in a queue.", 1, 1_000_000),
    Knob(
        "token_budget",
        "Token budget of a step",
        "Tokens that one step may process: max_num_batched_tokens in vLLM, batch size in llama.cpp.",
        1,
        TOKENS,
        None,
        256,
    ),
    Knob(
        "micro_batch",
        "Micro-batch",
        "Tokens processed together within a step (llama.cpp: ubatch).",
        1,
        TOKENS,
        None,
        128,
    ),
    Knob(
        "memory_fraction",
        "Memory fraction",
        "The share of the card that a server takes at start.",
        0.01,
        1.0,
        None,
        0.05,
    ),
)
SOCKETS = Knob("sockets", "CPU sockets", "CPUs on the board, each with memory of its own. Empty: one.", 1, 8)
MACHINE = (
    Knob(
        "device_memory_gib",
        "Device memory, GiB",
        "What programs can use on one device, if you know better than the catalog.",
        0.1,
        10_000.0,
        None,
        1.0,
    ),
    Knob(
        "device_bandwidth_gb_s",
        "Device memory bandwidth, GB/s",
        "If you know better than the catalog.",
        0.1,
        100_000.0,
        None,
        10.0,
    ),
    Knob(
        "device_power_w",
        "Power limit of a device, W",
        "What the driver lets each device draw (nvidia-smi -pl), if less than it is rated for.",
        1.0,
        100_000.0,
        None,
        10.0,
    ),
    Knob(
        "measured_bandwidth_gb_s",
        "The same as measured, GB/s",
        "What a benchmark read from the device's memory. It goes before the catalog's figure and the one above.",
        0.1,
        100_000.0,
        None,
        10.0,
    ),
    Knob("ram_bandwidth_gb_s", "RAM bandwidth, GB/s", "All channels of all sockets, as their rate says.", 0.1, 100_000.0, None, 10.0),
    Knob(
        "measured_ram_bandwidth_gb_s",
        "RAM bandwidth as measured, GB/s",
        "What a benchmark such as STREAM read, all sockets together. It goes before the figure above.",
        0.1,
        100_000.0,
        None,
        10.0,
    ),
    Knob(
        "gpu_share_gib",
        "The GPU's share of RAM, GiB",
        "Of an integrated GPU or a Mac: what it may take (the BIOS's share and GTT, iogpu.wired_limit_mb). What is left is the CPU's. "
        "Empty: what owners usually set.",
        0.1,
        10_000.0,
        None,
        8.0,
    ),
    Knob(
        "pcie_gb_s",
        "Host link, GB/s",
        "From the host to one device, one direction: about 25 for PCIe 4.0 with 16 lanes.",
        0.1,
        10_000.0,
        None,
        1.0,
    ),
)
COSTS = (
    Knob("usd_per_h", "Rent, $ per hour", "Of the whole machine. Replaces purchase and electricity.", 0.0, 1e6, None, 0.5),
    Knob(
        "purchase_usd",
        "Purchase price, $",
        "Of the whole machine. Empty: the devices' launch prices, where known.",
        0.0,
        1e9,
        None,
        100.0,
    ),
    Knob("electricity_usd_per_kwh", "Electricity, $ per kWh", "Empty: 0.15.", 0.0, 100.0, None, 0.01),
    Knob("use", "Share of its life in use", "Useful hours over all hours.", 0.01, 1.0, 0.5, 0.05),
    Knob("life_years", "Life, years", "Over which the purchase is spread.", 0.1, 50.0, 3.0, 0.5),
)

NUMBERS = {
    k.key: k for k in (COUNT, RAM, PROMPT, OUTPUT, IMAGES, USERS, RATE, *LAYOUT, *OFFLOAD, *CACHE, SOCKETS, MAIN_GPU, *MACHINE, *COSTS)
}
LISTS = ("model", "profile", "instance", "device", "runtime", "backend", "quant", "kv_dtype", "cpu", "split", "arrival", "host_link",
         "numa", "vision")  # fmt: skip
SWITCHES = ("flash_attention",)
TEXTS = ("tensor_split", "image_size")
IN_ADDRESS = ("others",)  # what the address alone keeps, and the form draws from it
# What a measured run may state and the form does not ask.
LINK_ONLY = ("runtime_version", "runtime_date", "threads", "cuda_graphs", "devices_per_node", "sp", "cp", "link", "mla_cache",
             "equal_lengths", "held_steps")  # fmt: skip
VIEW = "view"  # which part of the page is open
WHAT_IF = (
    *SLOTS, "edit", "what_if_view", "why", "why_way", "over", "over_values", "and_over", "and_over_values", "drawn", "api_in",
    "api_out", "api_use",
)  # fmt: skip  # of the comparison alone
# In an address, but no part of a scenario.
ELSEWHERE = (VIEW, "model_view", "step_phase", "step_layers", "against", *WHAT_IF, "symptom", "measured")
