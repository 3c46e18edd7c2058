"""Further cards of a machine, beside its first kind: what a scenario says of them, and the text that links and options carry.

"2x RTX 3060 via oculink with 11 GiB + Tesla P40": how many (one, where nothing is said), which, what joins each to the host where
that is no slot of its own, and the memory of each where that is known better. Shares are numbers in the order of the cards: "3,1".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

JOIN = " + "
MOST = 64  # cards of one box, and shares
_ONE = re.compile(r"(?:(\d{1,4})\s*[x×]\s*)?(\S.*?)(?:\s+via\s+(\S+))?(?:\s+with\s+(\d+(?:\.\d+)?)\s*GiB)?", re.IGNORECASE)


class Cards(BaseModel):
    """Cards of one kind beside the machine's first. `host_link`: what joins each to the host, as System's; None: its own slot."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    device: str
    count: int = Field(1, ge=1, le=MOST)
    host_link: str | None = None
    memory_gib: float | None = Field(None, gt=0, le=10_000)

    @field_validator("device")
    @classmethod
    def _one_kind(cls, name: str) -> str:
        if not name.strip() or JOIN in name:
            raise ValueError(f"further cards are named one kind at a time, joined by '{JOIN.strip()}' (it is {name!r})")
        return name

    def __str__(self) -> str:
        many = f"{self.count}x " if self.count > 1 else ""
        via = f" via {self.host_link}" if self.host_link else ""
        memory = f" with {number(self.memory_gib)} GiB" if self.memory_gib is not None else ""
        return f"{many}{self.device}{via}{memory}"


def read_cards(text: str) -> tuple[Cards, ...]:
    """The cards that a text means. Raises ValueError with a sentence."""
    found = []
    for part in text.split(JOIN):
        if not part.strip():
            continue
        match = _ONE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"further cards are written as in '2x RTX 3060 via oculink{JOIN}Tesla P40' (it is {part!r})")
        count, device, link, memory = match.groups()
        found.append(Cards(device=device, count=int(count or 1), host_link=link, memory_gib=float(memory) if memory else None))
    return tuple(found)


def write_cards(cards: Iterable[Cards]) -> str:
    """The text that `read_cards` reads back."""
    return JOIN.join(map(str, cards))


def read_shares(text: str) -> tuple[float, ...]:
    """Shares from "3,1" or "3/1". Raises ValueError with a sentence."""
    try:
        found = tuple(float(part) for part in re.split(r"[,/]", text) if part.strip())
    except ValueError:
        raise ValueError(f"shares of the cards are numbers with commas, as in 3,1 (they are {text!r})") from None
    return found


def checked_shares(shares: tuple[float, ...]) -> tuple[float, ...]:
    """The shares, where they can be. Raises ValueError with a sentence."""
    if len(shares) > MOST or any(not math.isfinite(share) or share < 0 for share in shares) or (shares and not sum(shares) > 0):
        raise ValueError(f"shares of the cards are at most {MOST} numbers of 0 or more, not all 0 (they are {write_shares(shares)})")
    return shares


def write_shares(shares: Iterable[float]) -> str:
    """The text that `read_shares` reads back."""
    return ",".join(map(number, shares))


def number(amount: float) -> str:
    """A number as it reads back, without a point where it is whole."""
    return str(int(amount)) if float(amount).is_integer() else repr(float(amount))


def count_cards(text: str | None) -> int:
    """How many cards a text names; 0 for one that cannot be read."""
    try:
        return sum(cards.count for cards in read_cards(text or ""))
    except ValueError:
        return 0


def flat(item: Any) -> Any:
    """A list of a scenario as the text of its flat form; anything else as it is."""
    if isinstance(item, (tuple, list)):
        return write_cards(Cards.model_validate(card) for card in item) if item and isinstance(item[0], dict) else write_shares(item)
    return item
