"""How an answer would appear on a screen: text handed out at the predicted pace."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

FRAMES_PER_S = 20.0  # screens need no more; faster answers come in larger pieces

TEXT = """\
A language model writes one token at a time. Before the first, it reads the whole prompt at once: that is prefill, \
and it keeps the arithmetic units busy, because every weight that is fetched from memory is used for hundreds of \
tokens. From then on each new token needs every active weight again, fetched from memory for a single use. That is \
decode, and it is why the memory's bandwidth, more than the arithmetic peak, decides how quickly you see these \
words.

Put many readers in front of one machine and the picture changes. A weight that is fetched once now serves \
everyone in the batch, so the machine's total output climbs while each reader slows only a little, until the cache \
of keys and values grows heavier than the weights, or the arithmetic units fill, or the memory is simply full. \
Where that point lies depends on the model's shape, on how its numbers are stored, and on the machine. Finding it \
before buying the machine is what this page is for.

What you are reading is not the model's output. It is a fixed text, handed out at the pace that was predicted for \
your choice, so that a number such as tokens a second becomes something you can feel. People read at about five \
tokens a second; at twenty the text outruns your eyes, and at eighty it appears in bursts. A long silence before \
the first word is the time that the prompt takes: long prompts on slow arithmetic make you wait, however quick the \
writing is afterwards.
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of text and the second, counted from the question, at which it appears."""

    at: float
    text: str


def tokens(text: str = TEXT) -> list[str]:
    """The text in pieces of about a token: words with their space, long words in two."""
    found: list[str] = []
    for word in re.findall(r"\s*\S+", text):
        found += [word] if len(word) <= 8 else [word[:6], word[6:]]
    return found


def pace(first_token: float, per_token: float, *, limit: float = 10.0, longest_wait: float = 4.0) -> Iterator[Piece]:
    """Pieces with the time at which each appears: the first after `first_token` s, then one token every `per_token` s.

    A wait longer than `longest_wait` is cut to it, and the whole ends by `limit` s or with the text. Nothing where a
    time is unknown or endless.
    """
    if not (math.isfinite(first_token) and math.isfinite(per_token) and per_token > 0):
        return
    start = min(first_token, longest_wait)
    frame = 1 / FRAMES_PER_S
    held, due = "", start
    for index, token in enumerate(tokens()):
        at = start + index * per_token
        if at > limit:
            break
        held += token
        if at >= due:
            yield Piece(at, held)
            held, due = "", at + frame
    if held:
        yield Piece(min(limit, at), held)


def played(
    first_token: float,
    per_token: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[str]:
    """The text of `pace`, piece by piece in real time. Late pieces follow at once, so that the whole keeps its pace."""
    begun = clock()
    for piece in pace(first_token, per_token):
        sleep(max(0.0, begun + piece.at - clock()))
        yield piece.text


def shortened(first_token: float, longest_wait: float = 4.0) -> bool:
    """Whether the preview's wait is cut."""
    return math.isfinite(first_token) and first_token > longest_wait
