"""How long one step takes: operations of every kind of layer, each bound by compute or memory, what devices send, fixed costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.answer import Op, Phase, Step
from core.apart import exchange, expert_tokens, is_apart, mlp_ranks, mlp_tokens, shares_mlp
from core.formulas.collectives import (
    activation_bytes,
    all_gather_time,
    all_reduce_time,
    all_to_all_time,
    hop_time,
    ring_time,
    sent,
)
from core.formulas.kv_cache import kv_bytes, tokens_read
from core.formulas.ops import (
    arithmetic_intensity,
    attended_pairs,
    attention_flop,
    chunked_pairs,
    decode_pairs,
    distinct_experts,
    elementwise_bytes,
    here,
    linear_flop,
    passed_bytes,
    passed_elements,
    routed_bytes,
    sampled_tokens,
    share,
    state_bytes,
    state_flop,
    state_traffic,
    states_touched,
    step_pairs,
    step_tokens,
    touched_bytes,
)
from core.formulas.roofline import (
    arithmetic_time,
    attention_time,
    bandwidth_utilisation,
    bound_time,
    compute_time,
    fixed_time,
    flop_utilisation,
    kernel_peak,
    kv_time,
    memory_time,
    offloaded_time,
    portion,
    ridge_point,
    streamed_time,
)
from core.formulas.unlike import exchange_time
from core.machine import Bus, Columns
from core.memory import Fit
from core.picked import pick, plain, solved
from core.plan import BlockShare, Plan
from core.quantity import Quantity, leaf, total, value
from core.sparse import decode_work, prompt_flop
from core.vision import tower_op

OFFLOADED = " (host)"  # ends the name of an operation on weights or cache in host memory


@dataclass(slots=True)
class Work:
    """What one step is given. Tokens of prompts: `prompts` sequences' chunk of `chunk` tokens after `start`; and `batch` decoding
    sequences with `context` tokens each. Any may be 0. Numbers of one data-parallel rank."""

    chunk: Any = 0.0  # prompt tokens in the step, all sequences together
    start: Any = 0.0  # cached tokens before each prompt
    prompt: Any = 0.0  # new tokens of a whole prompt
    chunks: Any = 1.0  # steps a prompt is cut into, over the sequences together
    prompts: Any = 0.0  # sequences whose prompts go through these chunks
    batch: Any = 0.0
    context: Any = 0.0
    flights: Any = 1.0  # micro-batches that take turns on pipeline stages


class Times:
    """Builds one step's operations."""

    def __init__(self, plan: Plan, c: Columns, fit: Fit, work: Work) -> None:
        self.plan, self.c, self.fit, self.work = plan, c, fit, work
        self.cited = isinstance(c.tp, Quantity)
        self.prefill = _any(work.chunk)
        self.decode = _any(work.batch)
        self.split_host = c.host is not None and _any(value(fit.host_experts))
        self.tokens = step_tokens(prompt_part=work.chunk, ranks=c.cp, batch=work.batch, named="tokens in the step")
        self.mlp_tokens, self.expert_tokens = mlp_tokens(c, self.tokens), expert_tokens(c, self.tokens)
        self.ops: list[Op] = []

    def constant(self, name: str, amount: Any, unit: str = "") -> Any:
        from core.catalog.files import source

        return leaf(name, float(amount), unit, "constant", source("nameplate")) if self.cited else amount

    def linear(
        self, name: str, block: BlockShare | None, elements: Any, weights: Any, *, tokens: Any = None, experts: bool = False
    ) -> None:
        """A matrix multiplication with all its weights read once; on the host where they lie there."""
        c, g = self.c, self.c.gpu
        tokens = self.tokens if tokens is None else tokens
        if experts and block is not None:
            mlp = block.block.mlp
            everyone = value(tokens) * np.where(np.asarray(value(c.ep)) > 1, value(c.dp), 1.0)
            routed = solved("tokens routed over the experts' ranks", everyone, "tok", "tokens of all ranks that share the experts", c.tp)
            distinct = distinct_experts(
                experts=self.constant("experts", float(mlp.experts)),
                chosen=self.constant("experts per token", float(mlp.top_k)),
                tokens=routed,
            )
            read = touched_bytes(total_bytes=weights, distinct=distinct, experts=self.constant("experts", float(mlp.experts)))
            chosen = share(whole=elements, parts=self.constant("experts / chosen", mlp.experts / mlp.top_k))
            flop = linear_flop(tokens=routed, elements=chosen)
            # Each expert sees its own few tokens: that is the matrix height that counts.
            per_expert = solved("tokens per expert", value(routed) * mlp.top_k / np.maximum(value(distinct), 1e-9), "tok",
                                "tokens × chosen ÷ distinct experts", c.tp)  # fmt: skip
            efficiency, compute_efficiency, height, half = g.experts_efficiency, g.experts_compute_efficiency, per_expert, g.experts_half
            away = self.fit.host_experts
        else:
            read, flop = weights, linear_flop(tokens=tokens, elements=elements)
            efficiency, compute_efficiency, height, half = g.weights_efficiency, g.compute_efficiency, tokens, g.compute_half
            away = self.fit.host_layers if block is not None else None
        layers = 1.0 if block is None else block.count
        compute = compute_time(flop=flop, peak=self.peak(g), efficiency=compute_efficiency, tokens=height, half=half)
        memory = memory_time(bytes_moved=read, bandwidth=g.bandwidth, efficiency=efficiency)
        on_device = bound_time(compute=compute, memory=memory, named=name)
        if away is not None and self.split_host:
            stays = portion(time=on_device, share=here(elsewhere=away), named=name)
            self.ops.append(self.op(name, block, layers, flop, read, compute, memory, stays, "weight_bandwidth"))
            self.offloaded(name, block, flop, read, on_device, away, height)
        else:
            self.ops.append(self.op(name, block, layers, flop, read, compute, memory, on_device, "weight_bandwidth"))

    def peak(self, place: Columns) -> Any:
        """The kernel's peak. Where nobody published one, few tokens are memory bound anyway; for many the time is unknown."""
        known = place.peak
        if _any(getattr(place, "few_limit", 0.0)):
            known = kernel_peak(tokens=self.tokens, limit=place.few_limit, few=place.peak_few, many=place.peak, named="peak of the kernel")
        if not np.any(np.isnan(np.asarray(value(known), dtype=float))):
            return known
        assumed = np.where(np.isnan(value(known)) & (np.asarray(value(self.tokens)) <= 4), np.inf, value(known))
        return solved(f"peak of {place.name}", assumed, "FLOP/s", "unknown; a step of up to 4 tokens is taken as memory bound", self.c.tp)

    def offloaded(self, name: str, block: BlockShare | None, flop: Any, read: Any, on_device: Any, away: Any, height: Any) -> None:
        """The part of an operation whose weights lie in host memory."""
        c, h = self.c, self.c.host
        on_host = bound_time(
            compute=compute_time(flop=flop, peak=self.peak(h), efficiency=h.compute_efficiency, tokens=height, half=h.compute_half),
            memory=memory_time(bytes_moved=read, bandwidth=h.bandwidth, efficiency=h.weights_efficiency),
            named=f"{name} on the CPU",
        )
        streamed = streamed_time(bytes_moved=read, link=c.pcie, compute=on_device, named=f"{name}, weights copied to the device")
        time = portion(
            time=offloaded_time(tokens=self.tokens, limit=c.stream_tokens, streamed=streamed, on_host=on_host), share=away,
            named=f"{name}, weights in host memory",
        )  # fmt: skip
        copied = plain((np.asarray(value(self.tokens)) >= value(c.stream_tokens)).astype(float))
        for kind, part in (("pcie", pick(copied, time, 0.0)), ("host_memory", pick(copied, 0.0, time))):
            if np.any(np.asarray(value(part)) != 0):
                self.ops.append(self.op(f"{name}{OFFLOADED}", block, 0.0, 0.0, 0.0, part, part, part, kind))

    def op(self, name: str, block: BlockShare | None, layers: float, flop: Any, read: Any, compute: Any, memory: Any, time: Any,
           kind: str, message: Any = 0.0) -> Op:  # fmt: skip
        return Op(name, None if block is None else block.block.name, layers, flop, read, message, compute, memory, time, kind)

    def attention_prefill(self, b: BlockShare) -> None:
        c, g, w = self.c, self.c.gpu, self.work
        count = chunked_pairs if b.block.attention.kind == "chunked" else attended_pairs
        pairs_all = count(start=w.start, tokens=w.prompt, window=b.window)
        pairs = step_pairs(pairs=pairs_all, prompts=w.prompts, chunks=w.chunks, layers=b.layers, ranks=c.cp)
        flop = attention_flop(pairs=pairs, heads=b.heads, key_width=b.key_width, value_width=b.value_width)
        if b.block.attention.attended:
            flop = prompt_flop(self, b, flop)
        time = attention_time(flop=flop, peak=g.attention_peak, efficiency=g.attention_efficiency, length=w.prompt, half=g.attention_half,
                              named="prefill attention")  # fmt: skip
        read = kv_bytes(tokens=self.work.start, sequences=share(whole=w.prompts, parts=w.chunks), elements=b.kv_read,
                        element_size=c.kv_size, layers=b.layers, split=1.0)  # fmt: skip
        self.ops.append(self.op("attention (prompt)", b, b.count, flop, read, time, 0.0 * value(time), time, "compute"))

    def attention_decode(self, b: BlockShare) -> None:
        c, g, w = self.c, self.c.gpu, self.work
        seen = tokens_read(context=w.context, window=b.window)
        read = kv_bytes(tokens=seen, sequences=w.batch, elements=b.kv_read, element_size=c.kv_size, layers=b.layers, split=c.cp,
                        named="KV cache read")  # fmt: skip
        pairs = decode_pairs(seen=seen, batch=w.batch, layers=b.layers, ranks=c.cp)
        flop = attention_flop(pairs=pairs, heads=b.heads, key_width=b.decode_key_width, value_width=b.decode_value_width)
        if b.block.attention.attended:
            seen, read, flop = decode_work(self, b)
        memory = kv_time(bytes_moved=read, bandwidth=g.bandwidth, efficiency=g.kv_efficiency, context=seen, half=g.kv_half)
        peak = g.attention_peak
        if np.any(np.isnan(np.asarray(value(peak), dtype=float))):
            peak = self.peak(Columns(peak=peak, name=g.name))
        compute = arithmetic_time(flop=flop, peak=peak, efficiency=g.decode_attention_efficiency)
        on_device = bound_time(compute=compute, memory=memory, named="decode attention")
        if self.split_host:
            away = self.fit.host_cache
            h = c.host
            on_host = kv_time(bytes_moved=read, bandwidth=h.bandwidth, efficiency=h.kv_efficiency, context=seen, half=h.kv_half)
            self.ops.append(
                self.op(
                    "attention",
                    b,
                    b.count,
                    flop,
                    read,
                    compute,
                    memory,
                    portion(time=on_device, share=here(elsewhere=away)),
                    "kv_bandwidth",
                )
            )
            if _any(value(away)):
                time = portion(time=on_host, share=away, named="attention on the CPU")
                self.ops.append(self.op(f"attention{OFFLOADED}", b, 0.0, 0.0, 0.0, time, time, time, "host_memory"))
        else:
            self.ops.append(self.op("attention", b, b.count, flop, read, compute, memory, on_device, "kv_bandwidth"))

    def recurrent(self, b: BlockShare) -> None:
        """A mixer with constant state: prompts are computed in chunks, decoding reads and writes each sequence's state."""
        g, w = self.c.gpu, self.work
        flop = state_flop(tokens=self.tokens, state=b.state, layers=b.layers)
        sequences = states_touched(batch=w.batch, prompts=w.prompts, chunks=w.chunks)
        held = state_bytes(sequences=sequences, state=b.state, element_size=b.state_size, layers=b.layers, named="states touched")
        moved = state_traffic(held=held)
        peak = self.peak(Columns(peak=g.attention_peak, name=g.name))
        compute = arithmetic_time(flop=flop, peak=peak, efficiency=g.state_compute_efficiency)
        memory = memory_time(bytes_moved=moved, bandwidth=g.bandwidth, efficiency=g.state_efficiency)
        time = bound_time(compute=compute, memory=memory, named="recurrent mixer")
        self.ops.append(self.op("recurrent mixer", b, b.count, flop, moved, compute, memory, time, "kv_bandwidth"))

    def elementwise(self, b: BlockShare) -> None:
        """What passes through memory between the matrix multiplications: little in decode, a fifth of a long prompt."""
        c, g = self.c, self.c.gpu
        moved = elementwise_bytes(tokens=self.tokens, hidden=c.hidden, inner=b.inner, element_size=c.act_size, layers=b.layers)
        mlp = b.block.mlp
        if mlp.kind == "moe":
            routed = routed_bytes(
                tokens=self.expert_tokens,
                chosen=self.constant("experts per token", float(mlp.top_k)),
                hidden=c.hidden,
                inner=share(whole=self.constant("an expert's width", float(mlp.intermediate)), parts=self.plan.expert_ranks),
                factor=g.routing_traffic,
                element_size=c.act_size,
                layers=b.layers,
                named="sorting tokens by expert",
            )
            moved = total([moved, routed], "activations moved")
        time = memory_time(bytes_moved=moved, bandwidth=g.bandwidth, efficiency=g.activation_efficiency, named="activations")
        self.ops.append(self.op("activations", b, b.count, 0.0, moved, 0.0, time, time, "activation_bandwidth"))

    def communication(self, b: BlockShare) -> None:
        """Two all-reduces a layer under tensor parallel, dispatch and combine under expert parallel, the ring under context parallel."""
        c = self.c
        message = activation_bytes(tokens=self.tokens, width=c.hidden, element_size=c.act_size)
        if _any(np.asarray(value(c.tp)) > 1):
            bus = bus_of(c, c.tp)
            once = all_reduce_time(message=message, ranks=c.tp, **bus)
            if _any(c.sp):
                gather = all_gather_time(message=message, ranks=c.tp, **bus)
                scatter = all_gather_time(message=message, ranks=c.tp, **bus, named="reduce-scatter")
                once = pick(value(c.sp), total([gather, scatter], "reduce-scatter and all-gather"), once)
            # Experts that are spread over ranks gather their answers themselves, and so do replicas that share the feed-forward part:
            # the attention's all-reduce remains.
            experts_apart = (b.block.mlp.kind == "moe") & (np.asarray(value(c.ep)) > 1)
            times = plain(b.count * np.where(experts_apart | is_apart(c), 1.0, 2.0))
            time = fixed_time(each=once, times=self.constant("times", times), named="all-reduce")
            n = np.asarray(value(c.tp))
            moved = sent(message=message, factor=self.constant("2(n-1)/n", plain(2 * (n - 1) / n)), times=self.constant("times", times))
            self.ops.append(self.op("all-reduce", b, b.count, 0.0, 0.0, 0.0, 0.0, time, "interconnect", moved))
        if np.any(shared := shares_mlp(c, b.block.mlp)):
            layers = self.constant("layers", plain(b.count * np.asarray(shared, dtype=float)))
            time, moved = exchange(c, self.tokens, bus_of(c, mlp_ranks(c)), layers)
            self.ops.append(self.op("replicas' exchange", b, b.count, 0.0, 0.0, 0.0, 0.0, time, "interconnect", moved))
        if b.block.mlp.kind == "moe" and _any(np.asarray(value(c.ep)) > 1):
            bus = bus_of(c, c.ep)
            routed = activation_bytes(
                tokens=self.tokens, width=c.hidden, element_size=self.constant("bytes × experts per token", 2.0 * b.block.mlp.top_k, "B")
            )
            once = all_to_all_time(message=routed, ranks=c.ep, **bus)
            time = fixed_time(each=once, times=self.constant("times", 2 * b.count), named="expert dispatch and combine")
            n = np.asarray(value(c.ep))
            moved = sent(message=routed, factor=self.constant("(n-1)/n", plain((n - 1) / n)), times=self.constant("times", 2 * b.count))
            self.ops.append(self.op("expert all-to-all", b, b.count, 0.0, 0.0, 0.0, 0.0, time, "interconnect", moved))
        if _any(np.asarray(value(c.cp)) > 1):
            bus = bus_of(c, c.cp)
            if self.prefill:
                cache = kv_bytes(
                    tokens=self.work.chunk, sequences=1.0, elements=b.kv_elements, element_size=c.kv_size, layers=1.0, split=1.0
                )
                once = ring_time(message=cache, ranks=c.cp, **bus)
            else:
                heads = activation_bytes(
                    tokens=self.work.batch,
                    width=b.heads,
                    element_size=self.constant("bytes of a head's output", 4.0 * value(b.decode_value_width), "B"),
                )
                once = all_gather_time(message=heads, ranks=c.cp, **bus)
                cache = heads
            time = fixed_time(each=once, times=self.constant("layers", b.count), named="context-parallel exchange")
            n = np.asarray(value(c.cp))
            moved = sent(message=cache, factor=self.constant("(n-1)/n", plain((n - 1) / n)), times=self.constant("layers", b.count))
            self.ops.append(self.op("context exchange", b, b.count, 0.0, 0.0, 0.0, 0.0, time, "interconnect", moved))

    def overheads(self) -> None:
        g = self.c.gpu
        self.fixed([self.of_layers(g.layer_overhead, g.moe_layer_overhead)])
        self.between_stages()
        self.to_host()

    def of_layers(self, each: Any, each_mixture: Any) -> tuple[Any, Any]:
        """Fixed costs of the layers, and of the mixtures among them."""
        moe = sum(b.count for b in self.plan.blocks if b.block.mlp.kind == "moe")
        layers = fixed_time(each=each, times=self.c.layers, named="layers")
        return layers, fixed_time(each=each_mixture, times=self.constant("mixture layers", moe), named="mixture layers") if moe else None

    def fixed(self, layers: Sequence[tuple[Any, Any]]) -> None:
        """Fixed costs of the step, its sequences, and its layers as `of_layers` has them (of each kind of device)."""
        c = self.c
        parts = [fixed_time(each=c.step_overhead, times=1.0, named="step"), *(dense for dense, _ in layers)]
        if self.decode:
            parts.append(fixed_time(each=c.sequence_overhead, times=self.work.batch, named="sequences"))
        parts += [mixtures for _, mixtures in layers if mixtures is not None]
        time = total(parts, "fixed costs")
        self.ops.append(self.op("fixed costs", None, 0.0, 0.0, 0.0, 0.0, 0.0, time, "overhead"))

    def between_stages(self) -> None:
        """Handing activations from each pipeline stage to the next."""
        c = self.c
        if _any(np.asarray(value(c.pp)) > 1):
            bus = bus_of(c, c.pp)
            message = activation_bytes(tokens=self.tokens, width=c.hidden, element_size=c.act_size)
            hop = hop_time(message=message, stages=c.pp, **bus, named="hand-over between stages")
            moved = sent(message=message, factor=1.0, times=self.constant("hops", plain(np.asarray(value(c.pp)) - 1.0)))
            self.ops.append(self.op("stage hand-over", None, 0.0, 0.0, 0.0, 0.0, 0.0, hop, "interconnect", moved))

    def to_host(self) -> None:
        """Inputs and results over a link to the host that is no slot: hidden states where the table lies in host memory, and logits
        where the engine samples there; else tokens alone."""
        c, token = self.c, self.constant("bytes of a token's number", 4.0, "B")
        one = self.constant("one number a token", 1.0)
        if c.cable_in is not None:
            message = activation_bytes(tokens=self.tokens, width=pick(c.host_embedding, c.hidden, one), element_size=token)
            time = exchange_time(message=message, rate=c.cable_in.rate, latency=c.cable_in.latency, named="inputs from the host")
            self.ops.append(self.op("inputs over the host link", None, 0.0, 0.0, 0.0, 0.0, 0.0, time, "pcie", message))
        if c.cable_out is not None:
            message = activation_bytes(tokens=self.sampled(), width=pick(c.buffered, c.vocab, one), element_size=token)
            time = exchange_time(message=message, rate=c.cable_out.rate, latency=c.cable_out.latency, named="results to the host")
            self.ops.append(self.op("results over the host link", None, 0.0, 0.0, 0.0, 0.0, 0.0, time, "pcie", message))

    def sampled(self) -> Any:
        """Tokens that are turned into logits: of a prompt only the last."""
        w = self.work
        return sampled_tokens(batch=w.batch, prompts=w.prompts, chunks=w.chunks)

    def passed(self, b: BlockShare, elements: Any, held: Any) -> tuple[Any, Any]:
        """Elements and bytes that a step passes: those held, or several times as many where layers share weights."""
        if b.block.passes == 1:
            return elements, held
        times = self.constant("layers that share one's weights", b.block.passes)
        return passed_elements(elements=elements, passes=times), passed_bytes(held=held, passes=times)

    def layers(self) -> None:
        """Everything within the layers."""
        for b in self.plan.blocks:
            if _any(value(b.attention_bytes)):
                self.linear("attention projections", b, *self.passed(b, b.attention_elements, b.attention_bytes))
            kind = b.block.attention.kind
            if b.block.attention.state_elements:
                self.recurrent(b)
            if kind not in ("linear", "none"):
                if self.prefill:
                    self.attention_prefill(b)
                if self.decode:
                    self.attention_decode(b)
            if b.block.mlp.kind != "none" and _any(value(b.mlp_bytes)):
                self.linear("feed-forward", b, *self.passed(b, b.mlp_elements, b.mlp_bytes), tokens=self.mlp_tokens)
            if b.block.mlp.kind == "moe":
                self.linear("experts", b, b.expert_elements, b.expert_bytes, tokens=self.expert_tokens, experts=True)
            self.elementwise(b)
            self.communication(b)

    def head(self) -> None:
        """From hidden states to logits."""
        self.linear("output head", None, self.plan.head_elements, self.plan.head_bytes, tokens=self.sampled())

    def images(self) -> None:
        """What the vision tower does in this step, where prompts bring images."""
        if (op := tower_op(self)) is not None:
            self.ops.append(op)

    def step(self, name: str) -> Step:
        self.images()
        self.layers()
        self.head()
        self.overheads()
        return Step(name, tuple(self.ops), total([op.time for op in self.ops], name))


def _any(x: Any) -> bool:
    amount = value(x)
    return bool((amount > 0).any()) if isinstance(amount, np.ndarray) else bool(amount > 0)


def bus_of(c: Columns, ranks: Any) -> dict[str, Any]:
    """What collectives among so many ranks (the next power of two) reach: arguments of the collective formulas."""
    n = value(ranks)
    names = Bus.__slots__
    if isinstance(n, np.ndarray):
        exponent = np.clip(np.ceil(np.log2(np.maximum(n, 2))), 1, 12)
        least, most = int(exponent.min()), int(exponent.max())
        found = {name: getattr(c.buses[2**least], name) for name in names}
        for e in range(least + 1, most + 1):
            so_many = exponent >= e
            found = {name: np.where(so_many, getattr(c.buses[2**e], name), known) for name, known in found.items()}
    else:
        size = 2
        while size < n and size < 4096:
            size *= 2
        found = {name: getattr(c.buses[size], name) for name in names}
    return {"bus": found["bandwidth"], "latency": found["latency"], "half": found["half"], "exponent": found["exponent"]}


def phase(step: Step, c: Columns) -> Phase:
    """The roofline view of a step on one rank: intensity against the ridge, achieved shares of the peaks."""
    own = [op for op in step.ops if _any(op.flop) or _any(op.bytes)]
    flop = total([op.flop for op in own if isinstance(op.flop, Quantity) or _any(op.flop)], "FLOP of the step", "FLOP")
    moved = total([op.bytes for op in own if isinstance(op.bytes, Quantity) or _any(op.bytes)], "bytes moved in the step", "B")
    return Phase(
        step=step,
        intensity=arithmetic_intensity(flop=flop, bytes_moved=moved),
        ridge=ridge_point(peak=c.gpu.peak, bandwidth=c.gpu.bandwidth),
        mfu=flop_utilisation(flop=flop, time=step.time, peak=c.gpu.peak, named="MFU"),
        mbu=bandwidth_utilisation(bytes_moved=moved, time=step.time, bandwidth=c.gpu.bandwidth, named="MBU"),
        flop=flop,
        bytes=moved,
    )
