"""From left-out runs to trust, intervals and scores: what each hangs on, and what it must not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_corpus import bands, left_out, observed

from core import forests
from core.bands import BAND_OF, Bands
from core.correction import PARTS
from core.fit import (
    BLOCKS,
    SHARES,
    blocks_of,
    choose_trust,
    kinds_of,
    predict_left_out,
    residuals,
    score_table,
    slower,
    version_of,
)
from core.judged import TIMES
from core.observations import ESTIMATED, Observations
from core.out_of_fold import LeftOut
from core.support import NEARNESS

LEVELS = len(NEARNESS) + 1


# ---------------------------------------------------------------- the version


def changed(**columns: object) -> Observations:
    seen = observed()[0]
    return replace(seen, lines=seen.lines.assign(**columns))


def first_of(metric: str) -> np.ndarray:
    lines = observed()[0].lines
    return np.arange(len(lines)) == np.flatnonzero(lines["metric"] == metric)[0]


def test_one_measurement_of_a_speed_makes_another_version_and_what_is_not_fitted_none() -> None:
    lines = observed()[0].lines
    before = version_of(observed()[0])

    def with_one(metric: str, times: float) -> str:
        return version_of(changed(measured=lines["measured"] * np.where(first_of(metric), times, 1.0)))

    assert version_of(changed()) == before
    assert with_one("decode", 1.0001) != before
    assert with_one("decode", 1 + 1e-14) == before  # another machine's last bit
    assert with_one("power", 2.0) == with_one("memory", 2.0) == before


def test_whatever_else_a_fit_hangs_on_makes_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = observed()[0]
    before = version_of(seen)
    assert version_of(changed(fit=seen.lines["fit"] & ~first_of("decode"))) != before
    assert version_of(changed(analytic=seen.lines["analytic"] * np.where(first_of("TTFT"), 1.01, 1.0))) != before
    other = [replace(traits, flavour="another build") for traits in seen.table.traits[:1]] + seen.table.traits[1:]
    assert version_of(replace(seen, table=replace(seen.table, traits=other))) != before
    # The trees draw lines by their position, so the order of the runs (by source, path and id) belongs to the fit.
    assert version_of(replace(seen, lines=seen.lines.iloc[::-1])) != before
    monkeypatch.setattr(forests, "TREES", forests.TREES + 1)
    assert version_of(seen) != before


# ---------------------------------------------------------------- blocks


@given(st.lists(st.integers(1, 400), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_an_origin_is_in_one_block_and_blocks_are_about_alike(sizes: list[int], random: object) -> None:
    names = [f"origin {n}" for n, size in enumerate(sizes) for _ in range(size)]
    block = blocks_of(pd.DataFrame({"origin": names}))
    of = {name: set(block[np.array(names) == name].tolist()) for name in set(names)}
    assert all(len(blocks) == 1 for blocks in of.values())
    assert len(set(block.tolist())) == min(BLOCKS, len(sizes)) and set(block.tolist()) <= set(range(BLOCKS))
    held = [sum(np.sqrt(size) for n, size in enumerate(sizes) if of[f"origin {n}"] == {number}) for number in range(BLOCKS)]
    assert max(held) - min(held) <= np.sqrt(max(sizes)) + 1e-9
    shuffled = names[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert dict(zip(shuffled, blocks_of(pd.DataFrame({"origin": shuffled})), strict=True)) == {name: one for name, (one,) in of.items()}


# ---------------------------------------------------------------- trust


@cache
def told() -> tuple[Observations, LeftOut, np.ndarray]:
    """Many lines whose prefill is off as its forest says and whose decode is not; half of them near, half farther."""
    seen = observed()[0]
    lines = seen.lines[seen.lines["metric"].isin(["prefill", "decode"])]
    lines = pd.concat([lines] * 6, ignore_index=True)
    random, size = np.random.default_rng(0), len(lines)
    off, noise = random.normal(size=size) * 0.3, random.normal(size=size) * 0.3
    prefill = (lines["metric"] == "prefill").to_numpy()
    lines["measured"] = lines["analytic"] * np.exp(off)
    out = left_out("source")
    words = {"prefill": np.where(prefill, off / lines["prefill"], 0.0), "decode": np.where(prefill, 0.0, noise), "first_token": noise}
    near = np.arange(size) % 2
    return replace(seen, lines=lines), LeftOut("source", np.arange(size), near, lines["source"].astype(str).to_numpy(), out.scales, words,
                                               near, out.doubt, out.support), lines["analytic"].to_numpy()  # fmt: skip


def test_a_word_that_is_right_is_taken_and_noise_is_not() -> None:
    seen, out, alone = told()
    found = choose_trust(seen, {"source": out}, {"source": alone}, np.ones(len(alone), dtype=bool))
    assert tuple(found) == PARTS and all(len(shares) == LEVELS for shares in found.values())
    assert {share for shares in found.values() for share in shares} <= {round(share, 2) for share in SHARES}
    assert found["prefill"] == [1.0] + [0.0] * (LEVELS - 1)  # farther levels have no lines: nothing speaks for the word there
    assert found["decode"] == [0.0] * LEVELS


def test_trust_hangs_on_the_lines_that_are_used_and_on_no_other() -> None:
    """So what is chosen for an origin has not seen it."""
    seen, out, alone = told()
    used = np.arange(len(alone)) % 3 != 0
    before = choose_trust(seen, {"source": out}, {"source": alone}, used)
    wrong = replace(seen, lines=seen.lines.assign(measured=seen.lines["measured"] * np.where(used, 1.0, 50.0)))
    assert choose_trust(wrong, {"source": out}, {"source": alone}, used) == before
    against = replace(seen, lines=seen.lines.assign(measured=seen.lines["analytic"] ** 2 / seen.lines["measured"]))
    assert choose_trust(against, {"source": out}, {"source": alone}, used)["prefill"] == [0.0] * LEVELS


def test_each_line_is_predicted_with_the_trust_of_its_own_block() -> None:
    seen, parts, _ = observed()
    out, block = left_out("source"), blocks_of(seen.lines)
    by_block = [{part: [share] * LEVELS for part in PARTS} for share in np.linspace(0, 1, BLOCKS)]
    predicted = predict_left_out(seen, parts, {"source": out}, by_block)["source"]
    for number, trust in enumerate(by_block):
        ours = block[out.line] == number
        np.testing.assert_array_equal(predicted[ours], out.predicted(seen, parts, trust)[ours])


# ---------------------------------------------------------------- residuals and scores


def test_slower_is_above_nothing_for_times_and_for_rates() -> None:
    lines = pd.DataFrame({"metric": ["TTFT", "decode", "TTFT", "decode"], "measured": [200.0, 50.0, 50.0, 200.0]})
    assert slower(lines, np.full(4, 100.0)) == pytest.approx(np.log([2, 2, 0.5, 0.5]))


def test_every_speed_has_its_class_of_intervals() -> None:
    kinds = dict(zip(ESTIMATED, kinds_of(pd.DataFrame({"metric": list(ESTIMATED)})), strict=True))
    assert {metric for metric, kind in kinds.items() if not kind} == {"memory", "power"}
    seen, parts, _ = observed()
    left = {"source": left_out("source")}
    predicted = {"source": left["source"].predicted(seen, parts, None)}
    found = residuals(seen, left, predicted, blocks_of(seen.lines))
    assert set(found) == set(BAND_OF.values())
    counted = {kind: sum((seen.lines["metric"] == metric).sum() for metric in kinds if kinds[metric] == kind) for kind in found}
    assert {kind: len(r.off) for kind, r in found.items()} == counted  # all of them are predicted
    decode = found["decode"]
    line = left["source"].line[np.isin(seen.lines["metric"].to_numpy()[left["source"].line], ["decode", "TPOT"])]
    assert decode.off == pytest.approx(slower(seen.lines.iloc[line], predicted["source"][np.isin(left["source"].line, line)]))


@cache
def scored() -> tuple[pd.DataFrame, list[Bands]]:
    """Scores with intervals that are wider by block: 1, 2, 3 … times."""
    seen, parts, _ = observed()
    out = left_out("source")
    by_block = [bands(1.0 + number) for number in range(BLOCKS)]
    predicted = {"source": out.predicted(seen, parts, None)}
    return score_table(seen, {"source": out}, predicted, blocks_of(seen.lines), by_block), by_block


def test_percentiles_are_in_order_for_times_and_for_rates() -> None:
    lines, scores = observed()[0].lines, scored()[0]
    metric = lines["metric"].to_numpy()[scores["row"]]
    assert "memory" not in metric and set(metric) == set(lines["metric"]) - {"memory"}
    speeds = scores[metric != "power"]
    assert np.all((speeds["p10"] > 0) & (speeds["p10"] < speeds["p50"]) & (speeds["p50"] < speeds["p90"]))
    assert scores[metric == "power"][["p10", "p90"]].isna().all(axis=None)
    assert len(scores) == (lines["metric"] != "memory").sum() and scores["row"].is_unique


def test_intervals_are_those_of_the_line_s_own_block_toward_slower_and_faster() -> None:
    """A slow end is the upper end of a time and the lower end of a rate."""
    lines, (scores, by_block) = observed()[0].lines, scored()
    out, block = left_out("source"), blocks_of(lines)
    at = {int(line): place for place, line in enumerate(out.line)}
    for _, score in scores.iterrows():
        line = lines.iloc[score["row"]]
        if line["metric"] == "power":
            continue
        doubt = out.doubt[[at[score["row"]]]]
        faster, slow = (float(side[0]) for side in by_block[block[score["row"]]].widths(ESTIMATED[line["metric"]], doubt))
        low, high = (faster, slow) if line["metric"] in TIMES else (-slow, -faster)
        assert [score["p10"], score["p90"]] == pytest.approx([score["p50"] * np.exp(low), score["p50"] * np.exp(high)])


def test_scores_say_which_fold_and_group_were_left_out() -> None:
    out, scores = left_out("source"), scored()[0]
    said = {int(line): (fold, group, level) for line, fold, group, level in zip(out.line, out.fold, out.group, out.support, strict=True)}
    held: Iterator[tuple[int, int, str, str]] = scores[["row", "fold", "group", "support"]].itertuples(index=False)
    assert all(said[row] == (fold, group, level) for row, fold, group, level in held)
    assert set(scores["split"]) == {"source"} and set(scores["support"]) <= {"seen", "near", "far"}
