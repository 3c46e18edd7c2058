"""What the columns of a table mean: the guesses, shown with their reasons and open to change."""

from __future__ import annotations

import streamlit as st

from core.upload_columns import Meaning, decimal_of, guesses, targets, units_of
from core.upload_table import Sheet
from pages.shared.words import escape

_LEFT = "left out"
_SHOWN = 20  # columns that are shown without scrolling


def choose(sheet: Sheet, place: int) -> tuple[tuple[Meaning, ...], str]:
    """The meaning of each column, and the decimal mark, as guessed or as set by hand. Raises RunError for a unit that does not fit."""
    meanings = list(guesses(sheet))
    titles = {target.title: column for column, target in targets().items()}
    unsure = sum(meaning.why.startswith("a guess") for meaning in meanings)
    count = f"{len(sheet.rows):,} row{'s' if len(sheet.rows) != 1 else ''}"
    label = f"{escape(sheet.name)}: {count}, {sum(bool(m.target) for m in meanings)} of {len(meanings)} columns used"
    with st.expander(f"{label}{f', {unsure} guessed' if unsure else ''}", expanded=bool(unsure), icon=":material/table:"):
        st.caption("How the columns are read. Change what is wrong; units say how the file counts.")
        rows = [
            {
                "Column": meaning.name,
                "First cells": ", ".join(cell for cell in sheet.column(meaning.name)[:3] if cell)[:60],
                "Taken for": targets()[meaning.target].title if meaning.target else _LEFT,
                "Unit": meaning.unit,
                "Why": meaning.why,
            }
            for meaning in meanings
        ]
        units = sorted({unit for target in targets() for unit in units_of(target)})
        edited = st.data_editor(
            rows,
            hide_index=True,
            height="content" if len(rows) <= _SHOWN else "auto",
            placeholder="",
            key=f"runs-columns-{place}-{sheet.name}",
            disabled=["Column", "First cells", "Why"],
            column_config={
                "Taken for": st.column_config.SelectboxColumn(options=[_LEFT, *titles], required=True, width="medium"),
                "Unit": st.column_config.SelectboxColumn(options=units, width="small"),
                "Why": st.column_config.TextColumn(width="medium"),
            },
        )
        marks = {"Point: 3.14": ".", "Comma: 3,14": ","}
        guessed = next(name for name, mark in marks.items() if mark == decimal_of(sheet))
        chosen = st.segmented_control("Decimal mark", list(marks), default=guessed, key=f"runs-decimal-{place}-{sheet.name}", required=True)
        with st.container(key=f"runs-preview-{place}"):
            st.caption("The first rows of the file")
            st.dataframe([dict(zip(sheet.header, row, strict=True)) for row in sheet.rows[:5]], hide_index=True, key=f"runs-rows-{place}")
    found = []
    for meaning, row in zip(meanings, edited, strict=True):
        target = "" if row["Taken for"] == _LEFT else titles[row["Taken for"]]
        unit = row["Unit"] if row["Unit"] in units_of(target) else ""
        same = target == meaning.target and (unit or "") == meaning.unit
        found.append(meaning if same else meaning.to(target, unit))
    return tuple(found), marks[chosen or guessed]
