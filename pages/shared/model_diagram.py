"""The picture of a model: its layers from the embedding to the head, folded where they repeat, and what each kind is made of."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from itertools import cycle, groupby

import streamlit as st

from core.ir import ModelIR
from core.model_stack import Card, Group, Run, cards, embedding_words, stack, tower_words

# Colours after Okabe and Ito, which stand out on light and dark; the kinds of a model take them in turn.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6BB1", "#8C8C8C")

_CSS = """
<style>
.stack { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 6fr); gap: 1.6rem; align-items: start; font-size: 0.9rem; }
.stack-flow { display: flex; flex-direction: column; align-items: stretch; }
.stack-end, .stack-chip, .stack-part { border-radius: 6px; padding: 0.45rem 0.7rem; }
.stack-end { border: 1px solid color-mix(in srgb, currentColor 25%, transparent); text-align: center; }
.stack-arrow { align-self: center; width: 0; height: 14px; border-left: 2px solid color-mix(in srgb, currentColor 35%, transparent); }
.stack-group { border: 1.5px dashed color-mix(in srgb, currentColor 35%, transparent); border-radius: 8px; padding: 0.55rem; }
.stack-group.once { border-style: solid; border-color: color-mix(in srgb, currentColor 15%, transparent); }
.stack-head { display: flex; justify-content: space-between; gap: 0.6rem; margin-bottom: 0.4rem; }
.stack-head b { font-variant-numeric: tabular-nums; }
.stack-dim { opacity: 0.72; }
.stack-chip .stack-dim { white-space: nowrap; }
.stack-chips { display: flex; flex-direction: column; gap: 0.3rem; }
.stack-chips.many { flex-direction: row; flex-wrap: wrap; }
.stack-chip { display: flex; justify-content: space-between; gap: 0.6rem; }
.stack-chip { background: color-mix(in srgb, var(--kind) 16%, transparent); border-left: 4px solid var(--kind); }
.stack-kinds { display: flex; flex-direction: column; gap: 0.7rem; }
.stack-card { border-left: 4px solid var(--kind); padding: 0.1rem 0 0.1rem 0.8rem; }
.stack-card p { margin: 0 0 0.35rem; font-size: 0.9rem; }
.stack-part { background: color-mix(in srgb, var(--kind) 11%, transparent); margin-top: 0.25rem; overflow-wrap: anywhere; }
@media (max-width: 640px) { .stack { grid-template-columns: minmax(0, 1fr); } }
</style>
"""


def draw(model: ModelIR) -> None:
    """The stack beside its kinds of layers."""
    kinds = cards(model)
    colours = dict(zip(kinds, cycle(_COLOURS), strict=False))
    before, after = embedding_words(model)
    flow = [f'<div class="stack-end">{escape(words)}</div>' for words in (tower_words(model), before) if words]
    for repeated, together in groupby(stack(model), key=lambda group: group.times > 1):
        groups = list(together)
        if repeated:
            flow += [_repeated(group, kinds, colours) for group in groups]
        else:  # what comes once stands in one box, so that a model of unlike layers stays short
            chips = (_chip(run, kinds, colours, _where(group)) for group in groups for run in group.runs)
            flow.append(f'<div class="stack-group once"><div class="stack-chips">{"".join(chips)}</div></div>')
    flow.append(f'<div class="stack-end">{escape(after)}</div>')
    joined = '<div class="stack-arrow"></div>'.join(flow)
    told = "".join(_card(card, colours[name]) for name, card in kinds.items())
    st.html(f'{_CSS}<div class="stack"><div class="stack-flow">{joined}</div><div class="stack-kinds">{told}</div></div>')


def _repeated(group: Group, kinds: Mapping[str, Card], colours: Mapping[str, str]) -> str:
    many = " many" if len(group.runs) > 4 else ""
    chips = "".join(_chip(run, kinds, colours) for run in group.runs)
    head = f'<div class="stack-head"><b>{group.times} times</b><span class="stack-dim">{_where(group)}</span></div>'
    return f'<div class="stack-group">{head}<div class="stack-chips{many}">{chips}</div></div>'


def _chip(run: Run, kinds: Mapping[str, Card], colours: Mapping[str, str], where: str = "") -> str:
    told = f"<span>{_times(run.times)}{escape(kinds[run.kind].title)}</span>"
    beside = f'<span class="stack-dim">{where}</span>' if where else ""
    return f'<div class="stack-chip" style="--kind:{colours[run.kind]}">{told}{beside}</div>'


def _where(group: Group) -> str:
    return f"layer {group.first}" if group.first == group.last else f"layers {group.first}–{group.last}"


def _times(times: int) -> str:
    return f"<b>{times} ×</b> " if times > 1 else ""


def _layers(count: int) -> str:
    return "one layer" if count == 1 else f"{count} layers"


def _card(card: Card, colour: str) -> str:
    parts = "".join(f'<div class="stack-part">{escape(part)}</div>' for part in (card.attention, card.mlp) if part)
    return (
        f'<div class="stack-card" style="--kind:{colour}"><p><b>{escape(card.title[0].upper() + card.title[1:])}</b><br>'
        f'<span class="stack-dim">{_layers(card.layers)}, {card.size}</span></p>{parts}</div>'
    )
