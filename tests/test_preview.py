"""The pace at which the preview hands out its text."""

from __future__ import annotations

import itertools
import math

import pytest

from core.preview import TEXT, pace, played, shortened, tokens


def test_text_is_whole() -> None:
    assert "".join(tokens()) == TEXT.rstrip()


@pytest.mark.parametrize("rate", [0.5, 5, 40, 400])
def test_tokens_keep_the_rate(rate: float) -> None:
    pieces = list(pace(0.5, 1 / rate))
    shown = len(tokens("".join(piece.text for piece in pieces)))
    written = 1 + (pieces[-1].at - 0.5) * rate
    assert pieces[0].at == pytest.approx(0.5)
    assert all(a.at <= b.at for a, b in itertools.pairwise(pieces))
    assert pieces[-1].at <= 10
    assert shown == pytest.approx(written, rel=0.25, abs=2)


def test_long_wait_is_cut_and_said() -> None:
    assert next(pace(60, 0.1)).at == 4
    assert shortened(60)
    assert not shortened(1)


@pytest.mark.parametrize("times", [(math.nan, 0.1), (math.inf, 0.1), (0.1, math.nan), (0.1, 0.0)])
def test_unknown_times_play_nothing(times: tuple[float, float]) -> None:
    assert not list(pace(*times))


def test_played_in_real_time() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    text = "".join(played(1.0, 0.05, clock=lambda: now[0], sleep=sleep))
    assert TEXT.startswith(text)
    assert 9 < now[0] <= 10
