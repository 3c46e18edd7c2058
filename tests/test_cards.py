"""Further cards and shares as text: read back as they were written, and what cannot be meant is said in a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.cards import JOIN, MOST, Cards, count_cards, read_cards, read_shares, write_cards, write_shares
from core.choices import exact_cards
from core.errors import RoofcastError, ScenarioError
from core.scenario import from_flat

_words = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=9).filter(
    lambda w: w.lower() not in ("via", "with")
)
_names = st.lists(_words, min_size=1, max_size=3).map(" ".join).filter(lambda name: not name[0].isdigit())
_cards = st.builds(Cards, device=_names, count=st.integers(1, MOST), host_link=st.none() | _words,
                   memory_gib=st.none() | st.integers(1, 999).map(float) | st.sampled_from([7.5, 11.25]))  # fmt: skip


@given(st.lists(_cards, max_size=4).map(tuple))
def test_cards_read_back(cards: tuple[Cards, ...]) -> None:
    assert read_cards(write_cards(cards)) == cards
    assert count_cards(write_cards(cards)) == sum(card.count for card in cards)


@given(st.lists(st.floats(0, 1e6) | st.integers(0, 99).map(float), max_size=8).map(tuple))
def test_shares_read_back(shares: tuple[float, ...]) -> None:
    assert read_shares(write_shares(shares)) == shares


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"others": "0x RTX 3060"}, "count must be 1 or more"),
        ({"others": "99x RTX 3060"}, f"count must be {MOST} or less"),
        ({"tensor_split": "3,one"}, "Shares of the cards are numbers with commas"),
        ({"tensor_split": "0,0"}, "not all 0"),
        ({"tensor_split": "1,-1"}, "0 or more"),
        ({"gpu_share_gib": 96, "ram_gb": 64}, "must not exceed ram_gb 64"),
        ({"others": [{"device": f"A{JOIN}B"}]}, "one kind at a time"),
    ],
)
def test_what_cannot_be_meant_is_said(knobs: dict[str, object], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        from_flat({"model": "m", "device": "d", **knobs})


def test_names_become_the_catalogs() -> None:
    assert exact_cards("2x 3060 via tb4") == "2x GeForce RTX 3060 12GB via thunderbolt-4-egpu"
    for wrong in ("no such card", "RTX 3060 via string"):
        with pytest.raises(RoofcastError):
            exact_cards(wrong)
