"""Does it fit? Memory by part on the fullest device and on the host: needed now, at the peak, and what the engine takes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from core.answer import Part
from core.formulas.activations import (
    activation_peak,
    bytes_left,
    cache_pool,
    cache_pool_of_free,
    compute_buffer,
    fraction_of,
    held_here,
    held_there,
    longest_step,
    lost_to_fragments,
    prompt_activations,
    prompt_tokens,
    sequences_that_fit,
    slots_bytes,
    slots_tokens,
)
from core.formulas.kv_cache import kv_bytes, tokens_held
from core.formulas.ops import mean_context, state_bytes
from core.machine import Columns
from core.picked import like, pick, plain, solved
from core.plan import NO_WINDOW, Plan
from core.quantity import total, value
from core.slices import Slice, offload, slices, when
from core.vision import with_images


@dataclass(slots=True)
class Held:
    """The memory of one device: the fullest of those that are alike. Bytes."""

    on: Slice
    weights: Any
    kv_sequence: Any
    activations: Any
    pool: Any
    batch_cap: Any
    kv_needed: Any
    needed: Any
    taken: Any
    peak: Any
    limit: Any
    headroom: Any
    parts: tuple[Part, ...]


@dataclass(slots=True)
class Fit:
    """The memory of a layout. Bytes per device unless said (of unlike devices the tightest); arrays in a pass over candidates."""

    weights: Any
    kv_sequence: Any  # cache of one sequence of the load's full context, on the fullest device
    slots: Any  # sequences the engine provides for
    slot_context: Any  # tokens each of them may have
    kv_needed: Any
    batch: Any  # sequences of the load that hold cache at once
    pool: Any  # room for cache
    activations: Any
    fixed: tuple[Part, ...]
    needed: Any
    taken: Any
    peak: Any
    limit: Any
    headroom: Any
    host_layers: Any  # share of layers in host memory
    host_cache: Any  # share of the cache there
    host_experts: Any  # share of experts in host memory (at least host_layers)
    gpu_layers: Any
    experts_on_cpu: Any
    host_needed: Any
    host_limit: Any
    host_parts: tuple[Part, ...]
    parts: tuple[Part, ...]
    batch_cap: Any  # sequences of the mean context that the cache can hold
    cards: tuple[Held, ...] = ()  # of unlike devices each kind; empty where all are alike


def cache_of_sequence(plan: Plan, c: Columns, context: Any, name: str, sequences: Any = None) -> Any:
    """Bytes of one rank's cache for `context` tokens, all layers: of one sequence, or of `sequences` that share the buffer.

    Each of those keeps a recurrent state and a window of its own.
    """
    parts = []
    sharing = like(1.0, c.users, "one sequence") if sequences is None else sequences
    for block in plan.blocks:
        kind = block.block.attention.kind
        if kind == "none":
            continue
        if block.block.attention.state_elements:
            parts.append(
                state_bytes(
                    sequences=sharing,
                    state=block.state,
                    element_size=block.state_size,
                    layers=block.layers,
                    named=f"state of {block.block.name}",
                )
            )
        if kind == "linear":
            continue
        bounded = kind in ("sliding", "chunked")
        window = block.window
        if bounded:
            windows = window if sequences is None else slots_tokens(sequences=sharing, tokens_each=window, named="windows")
            window = pick(c.swa_full, like(NO_WINDOW, window, "window not used"), windows)
        extra = pick(c.swa_extra, c.micro_batch, like(0.0, c.micro_batch, "extra tokens"))
        held = tokens_held(context=context, window=window, extra=extra, block=c.block_tokens)
        parts.append(
            kv_bytes(
                tokens=held,
                sequences=like(1.0, c.users, "one sequence"),
                elements=block.kv_elements,
                element_size=pick(c.mla_full, c.kv_size, c.key_size) if kind == "mla" else c.kv_size,
                layers=block.layers,
                split=c.cp,
                named=f"KV cache of {block.block.name}",
            )
        )
    return total(parts, name)


def context_while_decoding(c: Columns) -> Any:
    """Tokens in a sequence's cache while it decodes, on average."""
    return mean_context(depth=c.depth, prompt=c.prompt, output=c.output, named="mean context while decoding")


def fit(plan: Plan, c: Columns) -> Fit:
    """Lay the model out on the devices and say what it takes. Searches the layers to offload where they are not given."""
    full = value(c.depth) + value(c.prompt) + value(c.output)
    block = value(c.block_tokens)
    given_context = value(c.max_context)
    slot_context = np.where(np.isnan(given_context), np.ceil(full / block) * block, given_context)
    users_each = np.ceil(value(c.users) / value(c.dp))
    follow = (np.asarray(c.slots_follow_users) > 0) & (np.asarray(c.sequences_given) == 0)
    slots = np.where(follow, users_each, value(c.max_sequences))
    slots = np.where(np.isnan(slots), users_each, slots)
    slot_context = plain(slot_context)
    slots = plain(slots)
    slots_q = solved("sequences provided for", slots, "", "the runtime's limit, or one for each user", c.users, c.users, c.max_sequences)
    context_q = solved(
        "context of a sequence",
        slot_context,
        "tok",
        "what the load needs, or the context set",
        c.users,
        c.depth,
        c.prompt,
        c.output,
        c.max_context,
    )

    per_sequence = cache_of_sequence(plan, c, context_q, "KV cache of one sequence")
    upfront_tokens = solved("context shared by all sequences", slot_context * slots, "tok", "one buffer for all sequences", c.users)
    shared = cache_of_sequence(plan, c, upfront_tokens, "KV cache of the shared buffer", slots_q)
    kv_slots = slots_bytes(sequences=slots_q, bytes_each=per_sequence, named="KV cache of all slots")
    kv_upfront = pick(c.unified_kv, shared, kv_slots)
    wanted = np.minimum(users_each, slots)

    nothing = like(0.0, c.device_memory, "not held here")
    held_context = pick(c.unified_kv, upfront_tokens, context_q)
    whole = longest_step(budget=c.token_budget, context=context_q, named="tokens of the largest step")
    step_tokens = pick(c.micro_batches, c.micro_batch, pick(c.prompts_whole, whole, c.token_budget))
    expanded = pick(c.mla_expands, pick(c.mla_full, nothing, c.expanded), nothing)

    def buffers(vocab: Any) -> Any:
        return pick(
            c.buffered,
            compute_buffer(tokens=step_tokens, vocab=vocab, hidden=c.hidden, heads=c.heads, context=held_context,
                           mask_context=context_q, flash=c.flash,
                           expanded=expanded, absorbed=c.absorbed, scores=c.mla_scores, mask=c.mask_size,
                           element_size=c.logit_size, half=c.act_size, named="compute buffer"),
            pick(
                c.profiled,
                activation_peak(tokens=step_tokens, hidden=c.hidden, inner=c.inner, tp=c.tp, sequences=slots_q, vocab=c.vocab,
                                element_size=c.act_size, logit_size=c.logit_size, named="activation peak"),
                pick(c.whole_prompt, _whole_prompt(c), c.activation_memory),
            ),
        )  # fmt: skip

    laid_out = np.where(np.asarray(c.upfront) > 0, value(kv_upfront), wanted * value(per_sequence))
    several = np.asarray(value(c.pp)) > 1
    away_table = plan.tied and not (c.cards and np.any(several))  # a table that is the head too stands on its own on a first stage
    table = pick(c.host_embedding, nothing, nothing if away_table else plan.embedding_bytes)
    # Of several unlike devices only the last turns hidden states into logits.
    buffered = [buffers(pick(card.last, c.vocab, like(0.0, c.vocab, "no logits here"))) for card in c.cards] or [buffers(c.vocab)]
    first = [card.first for card in c.cards] or [1.0]  # the tower works where it lies
    buffered = [pick(here, with_images(c, amount), amount) for here, amount in zip(first, buffered, strict=True)]
    tower = plan.tower_bytes  # lies where the first layers do, and all of it stays there
    towers = [when(card.first, tower) for card in c.cards] or [tower]
    overheads = [value(one) + value(c.context_memory) + value(c.non_torch) + value(c.graph_memory) + value(held)
                 for one, held in zip(buffered, towers, strict=True)]  # fmt: skip
    gpu_layers, on_cpu = offload(plan, c, laid_out, overheads, table) if c.cards else _offload(plan, c, laid_out, overheads[0])
    layers = value(c.layers)
    moe_layers = sum(b.count for b in plan.blocks if b.block.mlp.kind == "moe")
    host_layers = 1 - gpu_layers / layers
    host_experts = np.maximum(host_layers, on_cpu / moe_layers if moe_layers else 0.0)
    note = "found so that the device is filled, or as set"
    away = solved("share of layers in host memory", host_layers, "", note, c.users)
    nothing_away = like(0.0, c.users, "cache in host memory")
    cache_away = pick(c.streams, nothing_away, away)  # where weights are copied for each step the cache stays
    experts_away = solved("share of experts in host memory", host_experts, "", note, c.users)

    dense_stay, experts_stay, stays, goes = [], [], [], []  # type: ignore[var-annotated]
    for b in plan.blocks:
        for part in (b.attention_bytes, b.mlp_bytes, b.norm_bytes):
            if value(part) is not None and np.any(np.asarray(value(part)) > 0):
                dense_stay.append(held_here(amount=part, elsewhere=away))
                stays.append(dense_stay[-1])
                goes.append(held_there(amount=part, elsewhere=away))
        if np.any(np.asarray(value(b.expert_bytes)) > 0):
            experts_stay.append(held_here(amount=b.expert_bytes, elsewhere=experts_away))
            stays.append(experts_stay[-1])
            goes.append(held_there(amount=b.expert_bytes, elsewhere=experts_away))
    device_layers = total(stays, "weights of the layers on devices")
    experts_here: Any = total(experts_stay, "experts on devices") if c.cards and experts_stay else nothing
    dense_here: Any = total(dense_stay, "weights of the layers on devices, without experts") if c.cards else nothing
    all_away = np.asarray(gpu_layers) <= 0
    head = pick(plain(all_away.astype(float)), nothing, plan.head_bytes)
    if not plan.tied and np.any(all_away):  # a tied head is the table, which is counted below
        goes.append(pick(plain(all_away.astype(float)), plan.head_bytes, nothing))
    kv_each = held_here(amount=per_sequence, elsewhere=cache_away)
    kv_mean = held_here(amount=cache_of_sequence(plan, c, context_while_decoding(c), "KV cache at mean context"), elsewhere=cache_away)

    def started(on: Slice, activations: Any) -> _Started:
        """A device before any sequence: what lies there, and the room that is left for cache."""
        weights = on.weights(device_layers, dense_here, experts_here, head, table, "weights")
        fixed = tuple(
            Part(name, amount, held)  # type: ignore[arg-type]
            for name, amount, held, anywhere in (
                ("vision tower", when(on.first, tower), "now", tower),  # of unlike cards all have the line, whichever holds it
                ("device context", c.context_memory, "now", c.context_memory),
                ("libraries and communication", c.non_torch, "now", c.non_torch),
                ("captured graphs", c.graph_memory, "now", c.graph_memory),
                ("compute buffers", activations, "peak", activations),
            )
            if np.any(np.asarray(value(anywhere)) > 0)
        )
        base = total([weights, *(p.amount for p in fixed if p.when == "now")], "weights and fixed parts")
        engine_limit = fraction_of(whole=on.limit, fraction=c.fraction, named="what the engine takes of the card")
        with_activations = total([base, activations], "weights, fixed parts and activations")
        pool = pick(
            c.of_free,
            cache_pool_of_free(memory=on.limit, used=with_activations, fraction=c.fraction, named="room for KV cache"),
            pick(
                c.pooled,
                cache_pool(limit=engine_limit, used=with_activations, named="room for KV cache"),
                cache_pool(limit=on.limit, used=with_activations, named="room for KV cache"),
            ),
        )
        kv_sequence = on.cache(kv_each, "KV cache of one sequence")
        return _Started(on, weights, activations, fixed, engine_limit, with_activations, pool, kv_sequence)

    ready = [started(on, activations) for on, activations in zip(slices(plan, c, gpu_layers, on_cpu), buffered, strict=True)]
    # A pool takes as many of the users as it holds, one at least: the others wait, they do not overflow it.
    fits = [np.floor(value(one.pool) / np.maximum(value(one.kv_sequence), 1.0)) for one in ready]
    held = np.minimum(wanted, np.maximum(functools.reduce(np.minimum, fits), 1.0))
    batch = solved("sequences at once", plain(np.where(np.asarray(c.pooled) > 0, held, wanted)), "",
                   "users, up to the runtime's limit and what a pool holds", c.users, c.users)  # fmt: skip
    kv_now = slots_bytes(sequences=batch, bytes_each=per_sequence, named="KV cache of the users")
    kv_all = pick(c.upfront, kv_upfront, kv_now)
    kv_stays = held_here(amount=kv_all, elsewhere=cache_away)

    def filled(one: _Started) -> Held:
        """A device with its sequences."""
        kv_here = one.on.cache(kv_stays, "KV cache")
        # Inside a reserved pool blocks are handed out whole and nothing is lost between them.
        in_pieces = pick(c.pooled, one.weights, total([one.weights, kv_here], "weights and cache"))
        fragments = pick(c.pooled, nothing, lost_to_fragments(amount=in_pieces, share=c.fragmentation, named="fragmentation"))
        # llama.cpp allocates its compute buffers at the start; servers reach their activation peak in full steps only.
        needed_parts = [one.weights, kv_here, *(p.amount for p in one.fixed if p.when == "now"), fragments]
        peak = total([*needed_parts, one.activations], "transient peak")
        needed = pick(c.buffered, total([*needed_parts, one.activations], "needed now"), total(needed_parts, "needed now"))
        taken = pick(
            c.pooled,
            pick(c.of_free, total([one.with_activations, one.pool], "engine will take"), one.engine_limit),
            peak,
        )
        headroom = bytes_left(limit=pick(c.pooled * (1 - c.of_free), one.engine_limit, one.on.limit), used=peak, named="headroom")
        room = sequences_that_fit(pool=one.pool, bytes_each=one.on.cache(kv_mean), named="sequences that fit")
        lost = () if isinstance(c.pooled, float) and c.pooled else (Part("fragmentation", fragments),)
        parts = (Part("weights", one.weights), Part("KV cache", kv_here), *one.fixed, *lost)
        return Held(one.on, one.weights, one.kv_sequence, one.activations, one.pool, room, kv_here, needed, taken, peak, one.on.limit,
                    headroom, parts)  # fmt: skip

    cards = [filled(one) for one in ready]
    at = tightest(cards)

    host_weights = total(goes, "weights in host memory") if goes else 0.0
    kv_there = held_there(amount=kv_all, elsewhere=cache_away, named="KV cache in host memory")
    table_there = pick(c.host_embedding, plan.embedding_bytes, nothing)
    host_parts = tuple(
        Part(name, amount)
        for name, amount in (
            ("weights", host_weights),
            ("KV cache", kv_there),
            ("embedding table", table_there),
        )
        if np.any(np.asarray(value(amount)) > 0)
    )
    host_needed = total([p.amount for p in host_parts], "needed in host memory") if host_parts else nothing
    host_limit = fraction_of(whole=c.host_memory, fraction=c.host_budget, named="usable host memory")
    fixed = tuple(part for part in at.parts if part.name not in ("weights", "KV cache", "fragmentation"))
    return Fit(
        weights=at.weights, kv_sequence=at.kv_sequence, slots=slots, slot_context=slot_context, kv_needed=at.kv_needed, batch=batch,
        pool=at.pool, activations=at.activations, fixed=fixed, needed=at.needed, taken=at.taken, peak=at.peak, limit=at.limit,
        headroom=at.headroom, host_layers=away, host_experts=experts_away, gpu_layers=gpu_layers, experts_on_cpu=on_cpu,
        host_cache=cache_away,
        host_needed=host_needed, host_limit=host_limit, host_parts=host_parts, parts=at.parts, batch_cap=at.batch_cap,
        cards=tuple(cards) if c.cards else (),
    )  # fmt: skip


@dataclass(slots=True)
class _Started:
    """A device before any sequence."""

    on: Slice
    weights: Any
    activations: Any
    fixed: tuple[Part, ...]
    engine_limit: Any
    with_activations: Any
    pool: Any
    kv_sequence: Any


def tightest(cards: Sequence[Held]) -> Held:
    """The device with the least room, element by element for many scenarios; its cache holds as many sequences as the fewest."""
    if len(cards) == 1:
        return cards[0]
    rooms = np.broadcast_arrays(*(np.asarray(value(card.headroom), dtype=float) for card in cards))
    fewest = np.broadcast_arrays(*(np.asarray(value(card.batch_cap), dtype=float) for card in cards))
    if rooms[0].ndim == 0:
        caps = [card.batch_cap for card in cards]
        cap = caps[int(np.argmin(np.array(fewest)))]
        return replace(cards[int(np.argmin(np.array(rooms)))], batch_cap=cap)
    place = np.argmin(np.array(rooms), axis=0)

    def picked(amounts: Sequence[Any]) -> Any:
        return np.choose(place, np.broadcast_arrays(*(np.asarray(value(a), dtype=float) for a in amounts), place)[:-1])

    names = [f.name for f in fields(Held) if f.name not in ("on", "parts", "batch_cap")]
    parts = tuple(Part(part.name, picked([card.parts[n].amount for card in cards]), part.when) for n, part in enumerate(cards[0].parts))
    return Held(on=cards[0].on, parts=parts, batch_cap=np.min(np.array(fewest), axis=0),
                **{name: picked([getattr(card, name) for card in cards]) for name in names})  # fmt: skip


def _whole_prompt(c: Columns) -> Any:
    """Activations of an engine that computes a whole batch's prompts in one step."""
    prompts = prompt_tokens(sequences=c.users, prompt=c.prompt, chunk=c.token_budget, named="tokens of the prompts in a step")
    return total(
        [
            prompt_activations(
                tokens=prompts, prompt=c.prompt, hidden=c.hidden, inner=c.inner, heads=c.heads, tp=c.tp, scores=c.prompt_scores,
                logits=pick(c.prompt_logits, prompts, c.users), vocab=c.vocab, element_size=c.act_size, logit_size=c.logit_size,
                named="activations of the prompts",
            ),
            c.activation_memory,
        ],
        "activations and workspace",
    )  # fmt: skip


def _offload(plan: Plan, c: Columns, kv: Any, overhead: Any) -> tuple[Any, Any]:
    """Layers on the devices and layers with experts on the CPU: as given, else as many as fit. Plain numbers.

    Experts go first: they are most of the bytes and the least of the reads.
    """
    layers = value(c.layers)
    moe = sum(b.count for b in plan.blocks if b.block.mlp.kind == "moe")
    experts = sum((value(b.expert_bytes) for b in plan.blocks), 0.0)
    dense = value(plan.layer_bytes) - experts
    stages = value(c.pp)
    spare = 1 + value(c.fragmentation)
    outside = np.maximum(
        value(plan.head_bytes), np.where(np.asarray(c.host_embedding) > 0, 0.0, 0.0 if plan.tied else value(plan.embedding_bytes))
    )
    room = np.maximum((value(c.device_memory) - overhead - value(c.fit_margin) * np.asarray(c.offloads)) / spare - outside, 0.0)
    per_layer = (dense + experts + kv) / layers
    dense_layer = (dense + kv) / layers
    possible = (np.asarray(c.offloads) > 0) & (c.host is not None)
    on_stage = np.ceil(layers / stages)
    fits_all = per_layer * on_stage <= room
    given_layers, given_experts = value(c.gpu_layers), value(c.experts_on_cpu)

    expert_layer = experts / moe if moe else 0.0
    may_move = possible & (np.asarray(c.experts_offload) > 0) & (moe > 0) & (dense_layer * on_stage <= room)
    short = np.maximum(per_layer * on_stage - room, 0.0) * stages
    move = np.where(may_move & ~fits_all, np.minimum(np.ceil(short / np.maximum(expert_layer, 1.0)), moe), 0.0)
    on_cpu = np.where(np.isnan(given_experts), np.where(np.isnan(given_layers), move, 0.0), np.minimum(given_experts, moe))

    after = (dense + kv) / layers + experts * (1 - (on_cpu / moe if moe else 0.0)) / layers
    stage_layers = np.floor(room / np.maximum(after, 1.0))
    automatic = np.where(possible & (after * on_stage > room), np.minimum(stage_layers * stages, layers), layers)
    gpu_layers = np.where(np.isnan(given_layers), automatic, np.minimum(given_layers, layers))
    return plain(gpu_layers), plain(on_cpu)
