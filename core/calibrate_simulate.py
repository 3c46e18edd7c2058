"""What a few own runs are worth, measured: draw some of a held-out machine's runs, calibrate on them, score the rest.

Every prediction comes from the out-of-fold scores: nothing of the machine's source (or device) was in the fit. Variances and the
narrowing of intervals that score an origin are estimated without it. A machine is one device, in one number, of one origin;
origins whose rows are many people's machines take no part.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.calibrate import line_points
from core.calibrate_kernel import Points
from core.calibrate_own import ASKING, FILE, KNOTS, Narrowing
from core.calibrate_prior import METRICS, Group, Posterior, Prior, fit_prior, posterior, teaching
from core.corpus import SHIPPED
from core.correction import FOLDER
from core.errors import RunError
from core.fit import blocks_of, observe, slower
from core.judged import TIMES
from core.observations import Observations
from core.predict import write_bytes_whole, write_whole
from core.run_sources import read_sources

CURVE = "few_shot.parquet"
SPLITS = ("source", "device")  # the first gives the variances and the narrowing
KINDS = {
    "decode": ("decode",),
    "prefill": ("prefill",),
    "serving": ("output rate", "total rate", "TPOT", "latency"),
    "first token": ("TTFT",),
}
INTERVAL = {"decode": "decode", "TPOT": "decode", "prefill": "prefill", "TTFT": "first token", "latency": "served", "output rate": "served",
            "total rate": "served"}  # fmt: skip
RUNS = (0, 1, 2, 3, 5, 10)  # own runs
LEAST = 12  # runs of a machine that is scored
DRAWS, MOST_SCORED = 4, 60
LINES = 60  # of a machine, from which variances are estimated


@dataclass(frozen=True, slots=True)
class Held:
    """Left-out lines of one split. `table`: origin, machine, run, metric, off, low, high (log, slower above 0), model, block, fit."""

    points: Points
    table: pd.DataFrame

    def where(self, kept: np.ndarray) -> Held:
        at = np.flatnonzero(kept)
        return Held(self.points.take(at), self.table.iloc[at].reset_index(drop=True))

    def group(self) -> Group:
        return Group(self.points, self.table["off"].to_numpy(), self.table["metric"].to_numpy())


def crowds() -> set[str]:
    """Origins whose rows were measured on many people's machines."""
    return {source.origin or folder for folder, source in read_sources(SHIPPED).items() if source.crowd}


def held_out(seen: Observations, folder: Path, split: str) -> Held:
    """The lines of `seen` with what the shipped scores of a split say of them. Raises RunError where there are none."""
    try:
        rows = pd.read_parquet(folder / "validation" / "rows.parquet", columns=["row", "run_id", "metric"])
        scores = pd.read_parquet(folder / "validation" / "scores.parquet", filters=[("split", "=", split)])
    except (OSError, ValueError) as error:
        raise RunError(f"The shipped scores cannot be read ({error}); make them with `roofcast validate --full`.") from error
    lines = seen.lines.assign(line=np.arange(len(seen.lines)), block=blocks_of(seen.lines))
    found = scores.merge(rows, on="row").merge(lines, on=["run_id", "metric"])
    found = found[found["metric"].isin(METRICS) & ~found["origin"].isin(crowds())].reset_index(drop=True)
    sign = np.where(found["metric"].isin(TIMES), 1.0, -1.0)
    with np.errstate(all="ignore"):
        ends = [sign * np.log(found[end] / found["p50"]) for end in ("p10", "p90")]
    place = found["place"].to_numpy()
    traits = [seen.table.traits[n] for n in place]
    table = pd.DataFrame({
        "origin": found["origin"], "machine": [f"{o}|{t.device}|{t.count}" for o, t in zip(found["origin"], traits, strict=True)],
        "device": [t.device for t in traits], "model": [t.geometry for t in traits], "run": pd.factorize(found["run_id"])[0],
        "metric": found["metric"], "off": slower(found, found["p50"].to_numpy()), "low": np.minimum(*ends), "high": np.maximum(*ends),
        "block": found["block"], "fit": found["fit"],
    })  # fmt: skip
    points = line_points(seen, found, found["run_id"])
    return Held(points, table).where(np.isfinite(table[["off", "low", "high"]].to_numpy()).all(axis=1))


def machines(held: Held, most: int = LINES, seed: int = 0) -> list[Group]:
    """At most so many lines of each machine, from which variances are estimated; the device's numbers together."""
    rng, found = np.random.default_rng(seed), []
    key = held.table["origin"] + "|" + held.table["device"]
    for _, at in sorted(key[held.table["fit"]].groupby(key).groups.items()):
        rows = np.asarray(at)
        if len(rows) >= 6:
            found.append(held.where(np.isin(np.arange(len(held.table)), rng.permutation(rows)[:most])).group())
    return found


# ---- The curve


def simulate(folder: Path = FOLDER, tell: Callable[[str], None] = print) -> None:
    """Estimates variances and narrowing and scores them; writes FILE and validation/CURVE below `folder` (minutes). Raises RunError."""
    seen, _, _ = observe()
    first = held_out(seen, folder, SPLITS[0])
    blocks = sorted(set(first.table["block"]))
    priors = {block: fit_prior(machines(first.where((first.table["block"] != block).to_numpy()))) for block in blocks}
    tell(f"{len(first.table):,} left-out lines, {first.table['machine'].nunique():,} machines; variances estimated without each block")
    told = []
    for split in SPLITS:
        held = first if split == SPLITS[0] else held_out(seen, folder, split)
        told.append(pd.concat(list(_scored(held, priors)), ignore_index=True).assign(split=split))
        tell(f"unseen {split}: {len(told[-1]):,} scored predictions")
    scored = pd.concat(told, ignore_index=True)
    base = scored[scored["split"] == SPLITS[0]]
    without = {block: narrowing(base[base["block"] != block]) for block in blocks}
    curve = _curve(scored, without)
    prior, narrow = fit_prior(machines(first)), narrowing(base)
    version = json.loads((folder / "validation" / "fit.json").read_text(encoding="utf-8")).get("version")
    raw = io.BytesIO()
    curve.to_parquet(raw, compression="zstd", index=False)
    write_bytes_whole(folder / "validation" / CURVE, raw.getvalue())
    plain = {"version": version, "date": date.today().isoformat(), "variances": prior.variances, "noise": prior.noise,
             "knots": list(KNOTS), "narrowing": narrow.factors}  # fmt: skip
    write_whole(folder / FILE, json.dumps(plain, indent=1) + "\n")


def _scored(held: Held, priors: Mapping[int, Prior]) -> Iterator[pd.DataFrame]:
    """Predictions of lines by own runs that were drawn or chosen without them."""
    for machine, at in sorted(held.table.groupby("machine").groups.items()):
        whole = held.where(np.isin(np.arange(len(held.table)), np.asarray(at)))
        prior = priors[int(whole.table["block"].iloc[0])]
        for kind, metrics in KINDS.items():
            ours = whole.table["metric"].isin(metrics).to_numpy()
            runs = whole.table["run"][ours].unique()
            if len(runs) < LEAST:
                continue
            rng = np.random.default_rng([len(runs), len(whole.table), list(KINDS).index(kind)])
            orders = [("drawn", draw, rng.permutation(runs)) for draw in range(DRAWS)]
            orders.append(("chosen", 0, _chosen(whole.where(ours), prior, max(RUNS))))
            for how, draw, order in orders:
                for k in RUNS:
                    if how == "drawn" or k >= 2:
                        yield _one(whole, ours, order[:k], prior, rng).assign(machine=str(machine), kind=kind, how=how, draw=draw, k=k)


def _one(whole: Held, ours: np.ndarray, used: np.ndarray, prior: Prior, rng: np.random.Generator) -> pd.DataFrame:
    mine = whole.table["run"].isin(used).to_numpy()
    rest = np.flatnonzero(ours & ~mine)
    rest = rng.permutation(rest)[:MOST_SCORED]
    table = whole.table.iloc[rest][["metric", "off", "low", "high", "block", "model"]].reset_index(drop=True)
    shift, doubt = np.zeros(len(rest)), np.ones(len(rest))
    if len(used):
        known = posterior(whole.where(mine).group(), prior)
        asked = whole.points.take(rest).questions()
        shift, doubt = known.shift(asked), _doubt(known, asked, table["metric"])
    other = ~table["model"].isin(whole.table["model"][mine])
    return table.assign(before=table["off"], off=table["off"] - shift, doubt=doubt, other=other)


def _doubt(known: Posterior, asked: Points, metrics: pd.Series) -> np.ndarray:
    """The doubt that is left of each line, by the steps that its class of interval is asked of."""
    found = np.ones(len(asked))
    for kind, on in ASKING.items():
        at = np.flatnonzero(metrics.map(INTERVAL) == kind)
        if len(at):
            found[at] = known.doubt(asked.take(at).asking(**on))
    return found


def _chosen(whole: Held, prior: Prior, most: int) -> np.ndarray:
    """Runs in the order in which they teach most of all the others, by their inputs alone."""
    at = np.linspace(0, len(whole.table) - 1, min(len(whole.table), 150)).astype(int)
    points = whole.points.take(at)
    noise = prior.noise_of(whole.table["metric"].iloc[at].tolist())
    order, _ = teaching(points, points, noise, prior, most)
    return np.asarray(pd.unique(whole.table["run"].iloc[at[order]]))


# ---- What it comes to


def needed(scored: pd.DataFrame) -> np.ndarray:
    """The factor on its interval that would just hold each line."""
    with np.errstate(all="ignore"):
        return np.asarray(np.where(scored["off"] < 0, scored["off"] / scored["low"], scored["off"] / scored["high"]))


def narrowing(scored: pd.DataFrame, share: float = 0.8) -> Narrowing:
    """How much of an interval's width stays, by the doubt that is left: so much that it holds `share` of lines, machines alike.

    Never less with more doubt, and the whole width where nothing was learned.
    """
    table = scored[(scored["k"] > 0) & (scored["how"] == "drawn")]
    table = table.assign(interval=table["metric"].map(INTERVAL), needed=needed(table))
    factors = {}
    for kind in ASKING:
        ours = table[table["interval"] == kind]
        weight = 1.0 / ours.groupby(["machine", "k"])["off"].transform("size")
        found = [_quantile(ours, weight, low, high, share) for low, high in zip([0.0, *KNOTS[:-2]], KNOTS[1:], strict=True)]
        # A knot stands for the doubts around it; where too few tell, its neighbour's width holds.
        filled = pd.Series([*found, 1.0]).bfill().to_numpy(copy=True)[: len(KNOTS)]
        filled[-1] = max(1.0, filled[-1])
        factors[kind] = [round(float(x), 4) for x in np.maximum.accumulate(np.minimum(filled, 1.0))]
    return Narrowing(factors)


def _quantile(table: pd.DataFrame, weight: pd.Series, low: float, high: float, share: float) -> float:
    inside = ((table["doubt"] > low) & (table["doubt"] <= high)).to_numpy()
    if inside.sum() < 200 or table["machine"][inside].nunique() < 8:
        return float("nan")
    amount, each = table["needed"].to_numpy()[inside], weight.to_numpy()[inside]
    order = np.argsort(amount)
    at = int(np.searchsorted(np.cumsum(each[order]) / each.sum(), share))
    return float(amount[order][min(at, len(order) - 1)])


def _curve(scored: pd.DataFrame, without: Mapping[int, Narrowing]) -> pd.DataFrame:
    """One line per split, kind, way, number of runs, models (same or other) and machine: lines, error, that of the same lines before,
    covered, width."""
    table = scored.assign(interval=scored["metric"].map(INTERVAL), needed=needed(scored))
    factor = np.ones(len(table))
    block, kind, doubt = (table[name].to_numpy() for name in ("block", "interval", "doubt"))
    for left, narrow in without.items():
        for what in ASKING:
            rows = np.flatnonzero((block == left) & (kind == what))
            factor[rows] = narrow.at(what, doubt[rows])
    sign = np.where(table["metric"].isin(TIMES), -1.0, 1.0)
    table = table.assign(
        error=np.abs(np.expm1(sign * table["off"])),
        before=np.abs(np.expm1(sign * table["before"])),
        covered=table["needed"] <= factor,
        width=factor * (table["high"] - table["low"]),
    )
    keys = ["split", "kind", "how", "k", "machine"]
    found = []
    for models, some in (("any", table), ("other", table[table["other"]])):
        each = some.groupby([*keys, "draw"]).agg(
            lines=("error", "size"),
            error=("error", "median"),
            before=("before", "median"),
            covered=("covered", "mean"),
            width=("width", "median"),
        )
        found.append(each.groupby(keys).mean().reset_index().assign(models=models))
    curve = pd.concat(found, ignore_index=True)
    return curve.assign(width=np.exp(curve["width"])).astype(
        {"error": "float32", "before": "float32", "covered": "float32", "width": "float32", "lines": "float32"}
    )


def read_curve(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """What own runs are worth: split, kind, how, models, k, machines, mean and median error over machines, the median on the same lines
    before, covered, width.

    Raises RunError where it was not measured.
    """
    keys = ["split", "kind", "how", "models", "k"]
    try:
        curve = pd.read_parquet(folder / "validation" / CURVE, columns=[*keys, "error", "before", "covered", "width"])
    except (OSError, ValueError) as error:
        raise RunError(f"What own runs are worth was not measured here ({error}); run `python -m harness.few_shot`.") from error
    found = curve.groupby(keys).agg(
        machines=("error", "size"),
        mean=("error", "mean"),
        median=("error", "median"),
        before=("before", "median"),
        covered=("covered", "mean"),
        width=("width", "median"),
    )
    return [{str(key): item for key, item in row.items()} for row in found.reset_index().to_dict("records")]
