"""The parts of the validation page below its first screen; only the open one is computed."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core import gates, report, terms
from core.scores import MOST_POINTS, Choice, Scores
from pages.shared import validation_charts as charts
from pages.shared import validation_run as run
from pages.shared.words import escape

_MARK = {"met": "✓ met", "missed": "✗ missed", "not judged": "– not judged"}


def worst(scores: Scores, choice: Choice) -> None:
    """The worst slices with the term that explains each, and error by what a run is."""
    st.subheader("Where it is most wrong", anchor=False)
    st.caption(
        "Slices of at least 20 judged numbers, by the factor they are off. Each term of the step's time was freed alone, and the one that "
        "removes most of the error is named, unless scaling everything by one factor removes more: then it is a plain bias. "
        "Choose a slice to see its runs."
    )
    lines = terms.explained_slices(scores, choice)
    if not lines:
        st.caption("No slice of 20 judged numbers is left by these filters.")
    else:
        shown = report.percent(pd.DataFrame(lines), ["median", "mean", "covered", "removed", "removed_all"])
        number = st.column_config.NumberColumn
        picked = st.dataframe(
            shown,
            hide_index=True,
            on_select="rerun",
            selection_mode="single-row",
            key="worst-slices",
            column_order=("metric", "source", "runtime", "device_class", "n", "median", "cause", "removed",
                          "removed_all", "bias", "covered"),
            column_config={
                "metric": "Metric", "runtime": "Runtime", "device_class": "Kind of device", "n": "Rows",
                "source": st.column_config.TextColumn("Source", width=150),
                "median": number("Median error, %", format="%.0f"),
                "bias": number("Bias (ln)", format="%+.2f", help="ln(predicted / measured), median; above 0: predicted too high."),
                "cause": st.column_config.TextColumn("Best explained by", width="medium"),
                "removed": number("Term removes, %", format="%.0f", help="Share of the error that goes when the term is freed."),
                "removed_all": number("One factor, %", format="%.0f", help="Share that goes when everything is scaled alike."),
                "covered": number("Inside p10–p90, %", format="%.0f"),
            },
        )  # fmt: skip
        if picked.selection.rows:
            line = lines[picked.selection.rows[0]]
            st.markdown(f"**{escape(' · '.join(line[key] for key in ('source', 'runtime', 'device_class', 'metric')))}**")
            rows = report.term_rows(scores, choice, line)
            if rows:
                charts.terms(rows, key="slice-terms")
            run.runs_table(scores, scores.worst_rows(terms.slice_choice(choice, line)), key="slice")
    st.subheader("Error by what a run is", anchor=False)
    st.caption(
        "Bar: median error. Tick: mean error. In brackets: judged rows. Long tails end at the chart's edge; the tooltip has the figure."
    )
    titles = {"size": "Size of the model", "batch": "Sequences at once", "context": "Tokens of context", "device": "Device",
              "runtime": "Runtime", "quant": "Quantisation", "year": "Year of the run"}  # fmt: skip
    found = report.by_slice(scores, choice)
    for names in (("size", "batch"), ("context", "year"), ("runtime", "quant"), ("device",)):
        for column, name in zip(st.columns(2), names, strict=False):
            if found[name]:
                with column:
                    charts.errors_by(found[name], title=titles[name], key=f"by-{name}")


def scatter(scores: Scores, choice: Choice) -> None:
    """Predicted against measured; a clicked point opens its run."""
    points = report.scatter_points(scores, choice)
    if points.empty:
        st.caption("No run is left by these filters.")
        return
    units = sorted(set(points["unit"]))
    picked = charts.scatter(
        points, report.scatter_lines(points), title=units[0] if len(units) == 1 else "each in its own unit", key="scatter"
    )
    total = next(iter(scores.summary(choice)))["n"]
    drawn = f"All {total:,} judged rows are drawn"
    if total > MOST_POINTS:
        drawn = f"{len(points):,} of {total:,} judged rows are drawn, in turn from every source, runtime and device"
    st.caption(f"{drawn}. Hover to see a run, click to open it. On the line: predicted exactly. Dashed: 25 % off.")
    if picked is not None:
        run.draw(scores, picked, key="scatter")


def runs(scores: Scores, choice: Choice) -> None:
    """The worst rows, and all of them as a file."""
    st.subheader("The runs that are most wrong", anchor=False)
    run.runs_table(scores, scores.worst_rows(choice, 200), key="worst")
    st.download_button(
        "Export every filtered row (CSV)",
        data=lambda: scores.table(choice).to_csv(index=False).encode(),
        file_name=report.EXPORT,
        mime="text/csv",
        icon=":material/download:",
    )


def all_gates(scores: Scores, choice: Choice) -> None:
    """Every gate with its status, then what simpler ways of predicting would reach."""
    rows = pd.DataFrame(report.gate_rows(gates.gates(scores, gates.table(scores))))
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    kept = left.pills("Status", list(_MARK), selection_mode="multi", default=list(_MARK), key="gate-status")
    families = right.multiselect("Family", list(dict.fromkeys(rows["family"])), key="gate-family", placeholder="all")
    rows = rows[rows["status"].isin(kept) & (rows["family"].isin(families) if families else True)]
    st.dataframe(
        rows.assign(status=rows["status"].map(_MARK)),
        hide_index=True,
        column_order=("status", "gate", "found", "limit", "rows", "family", "note"),
        column_config={
            "status": "Status", "family": st.column_config.TextColumn("Family", width="medium"),
            "gate": st.column_config.TextColumn("Gate", width="medium"), "limit": "Limit", "rows": "Judged rows", "note": "Note",
            "found": st.column_config.NumberColumn("Found", format="%.3g", help="In percent where the limit is."),
        },
    )  # fmt: skip
    st.caption(report.EASY)
    with st.expander("Which rows each gate looks at"):
        for population in gates.populations().values():
            st.markdown(f"**{population.name}**: {population.what}")
    broken = gates.thresholds(scores, gates.table(scores))
    if broken:
        worse = [t for t in broken if t.broken]
        told = f"{len(broken)} errors are watched against what was last accepted; {len(worse)} got worse by more than chance."
        (st.warning if worse else st.success)(told)
    st.subheader("Against simpler ways of predicting", anchor=False)
    st.caption(
        "On the filtered rows. “Ours there” is our error on the very rows for which the simpler way gives a number. The roofline is the "
        "datasheet's with one constant; the planner is a published one, fitted to one laptop."
    )
    lines = report.percent(pd.DataFrame(scores.baselines(choice)), ["median", "mean", "each_median", "ours_median", "ours_mean"])
    percent = {
        name: st.column_config.NumberColumn(label, format="%.0f")
        for name, label in (("median", "Median error, %"), ("mean", "Mean error, %"), ("each_median", "Median, groups weighing 1, %"),
                            ("ours_median", "Ours there, median, %"), ("ours_mean", "Ours there, mean, %"))
    }  # fmt: skip
    st.dataframe(lines, hide_index=True, column_config={"name": "Way", "n": "Rows", **percent})
    with st.expander("Every figure, metric by metric, on the chosen split"):
        figures = scores.summary(Choice(choice.split, {k: v for k, v in choice.filters.items() if k != "metric"}), "metric")
        shares = ["median", "mean", "p90", "near", "covered", "below", "above", "each_median", "each_mean", "each_near", "each_covered"]
        st.dataframe(
            report.percent(pd.DataFrame(figures).drop(columns=["place"], errors="ignore"), shares), hide_index=True,
            column_config={name: st.column_config.NumberColumn(f"{name.replace('_', ' ')}, %", format="%.1f") for name in shares},
        )  # fmt: skip


def intervals(scores: Scores, choice: Choice) -> None:
    """Coverage by split, and by held-out group against chance."""
    st.subheader("Do the intervals hold?", anchor=False)
    st.caption(
        "p10–p90 should hold 80 % of runs (band: 77–83 %). Filled: each held-out group weighs 1. Ring: each row weighs 1. An interval may "
        "hold by being wide: the tooltip has the median width p90/p10."
    )
    band = gates.targets()["coverage"]
    low, high = (float(f"0.{band[key]}") for key in ("low", "high"))
    lines = [line | {"population": ", ".join(choice.filters.get("metric", ("all metrics",)))} for line in _by_split(scores, choice)]
    if not lines:
        st.caption("No run is left by these filters.")
        return
    charts.coverage(lines, (low, high), key="coverage")
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.markdown(f"**Group by group, {report.SPLIT_NAMES.get(choice.split, choice.split)}**")
        charts.histogram(report.histogram_rows(scores, choice), key="histogram")
        st.caption(
            "Bars: held-out groups of at least five rows, by the share of their runs inside. Line: what chance alone would give, a "
            "binomial of 80 % and each group's size. Groups to the left of it are machines or models whose interval does not hold."
        )
    with right:
        st.markdown("**Groups that hold least**")
        groups = report.percent(pd.DataFrame(report.held(scores, choice)), ["held", "median"])
        number = st.column_config.NumberColumn
        st.dataframe(
            groups, hide_index=True, column_order=("group", "n", "held", "median", "width"),
            column_config={"group": "Group", "n": "Rows", "held": number("Inside, %", format="%.0f"),
                           "median": number("Median error, %", format="%.0f"), "width": number("Width p90/p10", format="%.2f")},
        )  # fmt: skip


def _by_split(scores: Scores, choice: Choice) -> list[dict[str, object]]:
    return [
        {**line, "split_name": report.SPLIT_NAMES.get(split, split)}
        for split in scores.splits
        for line in scores.summary(Choice(split, choice.filters))
    ]


def corpus(scores: Scores, choice: Choice) -> None:
    """What was measured: coverage map, feasibility, what was left out."""
    st.subheader("What was measured", anchor=False)
    st.caption("Runs by model and device, after the filters; choose a runtime there to see its own map. Empty: nobody measured it.")
    filters = {name: items for name, items in choice.filters.items() if name != "metric"}
    found = scores.corpus_map(filters)
    if found:
        charts.corpus_map(found, key="map")
    st.subheader("Fits or not?", anchor=False)
    st.caption(report.FEASIBILITY)
    said = pd.DataFrame(scores.feasibility(filters))
    st.dataframe(said, hide_index=True, width="content", column_config={"feasibility": "Said of runs that ran", "runs": "Runs"})
    refused = scores.refused(filters)
    if refused:
        with st.expander(f"False alarms, said not to fit although they ran: {len(refused):,} runs"):
            st.dataframe(pd.DataFrame(refused), hide_index=True, column_config={"row": None, "run_id": "Run"})
    left_out = scores.fit.get("left_out", {})
    if left_out:
        with st.expander("Rows left out, by rule"):
            st.caption("From inputs and the source's own labels only; no rule looked at the error.")
            st.dataframe(pd.DataFrame([{"Rule": rule, "Rows": rows} for rule, rows in left_out.items()]), hide_index=True)


def versions(scores: Scores, choice: Choice) -> None:
    """The uncorrected estimate, earlier fits and this one."""
    rows = [row | {"split_name": report.SPLIT_NAMES.get(row["split"], row["split"])} for row in report.version_rows(scores)]
    names = list(dict.fromkeys(row["population"] for row in rows))
    population = st.selectbox("What", names, key="version_population")
    st.subheader("Before and after", anchor=False)
    charts.versions([row for row in rows if row["population"] == population], key="versions")
    with st.expander("This fit"):
        st.json({key: item for key, item in scores.fit.items() if key not in ("results", "before")})
