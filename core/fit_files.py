"""What a fit leaves behind: the judged rows, their scores and a description of the fit, each file whole or not at all."""

from __future__ import annotations

import io
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from core.judged_quality import quality_figures
from core.memory_check import check
from core.memory_fit import held_out, residuals
from core.memory_points import read_points, read_run_peaks
from core.predict import write_bytes_whole, write_whole
from core.report import results
from core.scores import Scores


def write_scores(folder: Path, rows: pd.DataFrame, scores: pd.DataFrame, about: Mapping[str, Any]) -> None:
    """Writes validation/{rows,scores}.parquet and fit.json below `folder`, and keeps the fit for later comparison in versions/."""
    place = folder / "validation"
    place.mkdir(parents=True, exist_ok=True)
    write_bytes_whole(place / "rows.parquet", _parquet(rows))
    write_bytes_whole(place / "scores.parquet", _parquet(_narrow(scores)))
    described = {**about, "figures": {**memory_figures(), **quality_figures()}}
    write_whole(place / "fit.json", _json(described))  # the results are read from the files as they lie
    described["results"] = results(Scores(place))
    write_whole(place / "fit.json", _json(described))
    (folder / "versions").mkdir(exist_ok=True)
    write_whole(folder / "versions" / f"{about['version']}.json", _json(described))


def memory_figures() -> dict[str, dict[str, float]]:
    """Median absolute errors (%) of weights and cache, and of peaks with the constants fitted to other sources, with their counts."""
    compared = check([*read_points(), *read_run_peaks()]).compared
    found = {f"{kind}_median": [100 * abs(one.error) for one in compared if one.point.kind == kind] for kind in ("weights", "kv")}
    found["peak_median"] = [100 * abs(error) for errors in held_out(residuals(compared)).values() for error in errors]
    return {name: {"value": round(statistics.median(errors), 3), "n": len(errors)} for name, errors in found.items() if errors}


def _narrow(scores: pd.DataFrame) -> pd.DataFrame:
    """Predictions as floats of 32 bits: seven digits are more than any of them is worth."""
    return scores.astype({"row": "int32", "fold": "int8", "p10": "float32", "p50": "float32", "p90": "float32"})


def _parquet(table: pd.DataFrame) -> bytes:
    raw = io.BytesIO()
    table.to_parquet(raw, compression="zstd", index=False)
    return raw.getvalue()


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"
