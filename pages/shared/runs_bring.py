"""Bringing runs in: files or a form, what their columns mean, each figure beside its prediction, and consent."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core import calibrate, upload
from core.calibrate_effect import effects, questions, sentence
from core.catalog.own_hardware import may_store
from core.errors import RoofcastError
from core.importers import NothingTaken, Refused
from core.queue import Queue
from core.records import RunRecord
from core.this_machine import read_machine, run_columns
from core.upload import Upload
from core.upload_table import MAX_BYTES, Sheet
from core.upload_tables import beside, shared_by, states, verdict
from pages.shared import runs_charts, runs_form, runs_meaning, runs_session
from pages.shared.words import escape

_DONE, _ROUND = "_runs_done", "_runs_round"
_MIB = MAX_BYTES >> 20
_FEW = 5  # rows that are named in full


def draw() -> None:
    """The whole part; what was just kept stands first."""
    _kept()
    st.markdown(
        "Drop what a benchmark wrote, or any table of your measurements. You see each figure beside our prediction at once; "
        "**nothing is stored until you say so.**"
    )
    files = st.file_uploader(
        "Files of runs",
        accept_multiple_files=True,
        key=f"runs-files-{st.session_state.get(_ROUND, 0)}",
        max_upload_size=_MIB,
        help="Results of llama-bench, llama-batched-bench, vllm bench, SGLang, GuideLLM and Ollama, run files of roofcast bench, "
        "and tables: CSV of any separator, Parquet, JSON.",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Template", upload.template(), upload.TEMPLATE_NAME, "text/csv", icon=":material/download:", on_click="ignore",
            help="An empty table with the columns that say most of a run. Columns of your own are understood, too.",
        )  # fmt: skip
        st.download_button(
            "Example", upload.example(), upload.EXAMPLE_NAME, "text/csv", icon=":material/download:", on_click="ignore",
            help="Figures typed by hand to try the page with, not measured.",
        )  # fmt: skip
        st.caption(f"No prompts or answers are read, and nothing leaves this {'computer' if may_store() else 'server'}.")
    typed = runs_form.draw()
    given = _given(bool(files))
    uploads = [found for place, file in enumerate(files or ()) if (found := _file(file, given, place))]
    if typed is not None:
        uploads.append(typed)
    if uploads:
        _judge(uploads)


def _given(asked: bool) -> dict[str, Any]:
    """What the files do not tell, said once for all their rows."""
    if not asked:
        return {}
    given: dict[str, Any] = {}
    with st.expander("What the files do not say", icon=":material/edit_note:"):
        st.caption("Stands where a row says nothing: many tools name neither the GPU nor the engine.")
        facts = read_machine() if may_store() else None
        if facts is not None and st.checkbox("They ran on this machine", key="runs-here"):
            given = {column: cell for column, cell in run_columns(facts).items() if column in upload.ASKED}
        columns = itertools.cycle(st.columns(3))
        for (column, title, example), place in zip(_ASKED, columns, strict=False):
            with place:
                cell = st.text_input(title, key=f"runs-given-{column}", max_chars=200, placeholder=example)
            if cell.strip():
                given[column] = cell.strip()
    return given


_ASKED = (
    ("gpu_name", "GPU", "RTX 4090"), ("gpu_count", "Number of GPUs", "1"), ("cpu_name", "Processor, of a run without GPU", "Ryzen 9 7950X"),
    ("runtime", "Engine", "llama.cpp"), ("model_name_raw", "Model", "Qwen/Qwen3-8B"), ("quant", "Quantisation", "Q4_K_M"),
    ("concurrency", "Users at once", "1"), ("prompt_tokens", "Prompt tokens", "512"), ("output_tokens", "Output tokens", "128"),
)  # fmt: skip


def _file(file: UploadedFile, given: dict[str, Any], place: int) -> Upload | None:
    """A file's runs; None, and a sentence, where there are none."""
    session = runs_session.of_session()
    key = (file.file_id, tuple(sorted(given.items())), runs_session.names(calibrate.own_records()))
    try:
        with st.spinner(f"Reading {escape(file.name)} …"):
            found = runs_session.remembered((file.file_id, "what it is"), lambda: upload.read(file.getvalue(), file.name))
        if isinstance(found, Sheet):
            meanings, decimal = runs_meaning.choose(found, place)
            with st.spinner(f"Reading {escape(file.name)} …"):
                return runs_session.remembered(
                    (*key, meanings, decimal), lambda: upload.from_sheet(found, meanings, given, session, decimal)
                )
        with st.spinner(f"Reading {escape(file.name)} …"):
            return runs_session.remembered(key, lambda: upload.from_result(file.getvalue(), file.name, given, session, fill=True))
    except RoofcastError as error:
        asks = " Say it above, under “What the files do not say”." if "does not tell" in str(error) else ""
        st.error(escape(f"{error}{asks}"), icon=":material/error:")
        if isinstance(error, NothingTaken) and len(error.refused) > 1:
            _left_out(file.name, error.refused, place)
        return None


def _judge(uploads: Sequence[Upload]) -> None:
    """What was read, what was left out, every figure beside its prediction, and the question whether to keep it."""
    for place, found in enumerate(uploads):
        _about(found, place)
    learned = set(runs_session.names(calibrate.own_records()))  # what has shifted the predictions says nothing of them
    records = [record for record in {r.run_id: r for found in uploads for r in found.records}.values() if record.run_id not in learned]
    correction = calibrate.in_effect()
    key = ("judged", runs_session.names(records), correction and correction.version)
    with st.spinner("Predicting what was measured …"):
        lines, failed = runs_session.remembered(key, lambda: upload.judged(records, correction))
    if lines:
        st.subheader("Measured beside predicted", anchor=False)
        st.markdown(f"**{escape(verdict(lines))}**")
        if shared := shared_by(lines):
            st.caption(f"All of them: {escape(' · '.join(shared))}.")
        rows = beside(lines)
        runs_charts.beside(rows, key="runs-beside")
        runs_charts.table(rows, key="runs-beside-table")
    for why in dict.fromkeys(failed.values()):
        st.caption(f"Not predicted: {escape(why)}")
    confirmed = _questions(uploads)
    _consent(uploads, confirmed)


def _about(found: Upload, place: int) -> None:
    count = f"{len(found.records):,} run{'s' if len(found.records) != 1 else ''}"
    left = f", {len(found.refused):,} row{'s' if len(found.refused) != 1 else ''} left out" if found.refused else ""
    known = f", {len(found.before):,} known already" if found.before else ""
    st.markdown(f":green-badge[:material/check: read] **{escape(found.name)}** ({escape(found.kind)}): {count}{left}{known}")
    for note in (*found.notes, *filter(None, [states(found.records)])):
        st.caption(escape(note))
    if found.refused:
        _left_out(found.name, found.refused, place)
    for where in dict.fromkeys(found.before.values()):
        st.caption(escape(where))


def _left_out(name: str, refused: Sequence[Refused], place: int) -> None:
    """Every row that was not taken, with its reason."""
    few = len(refused) <= _FEW
    with st.expander(f"Rows left out of {escape(name)}: {len(refused):,}", icon=":material/playlist_remove:", expanded=few):
        if few:
            st.markdown("\n".join(f"- {f'**{escape(row.where)}**: ' if row.where else ''}{escape(row.why)}" for row in refused))
            return
        st.dataframe(
            [{"Where": row.where, "Why": row.why} for row in refused], hide_index=True, key=f"runs-refused-{place}",
            column_config={"Where": st.column_config.TextColumn(width=80), "Why": st.column_config.TextColumn(width=900)},
        )  # fmt: skip


def _questions(uploads: Sequence[Upload]) -> list[str]:
    """Runs that are doubtful, each to be confirmed; the run_ids of those that are."""
    flagged = [(record, found.flags[record.run_id]) for found in uploads for record in found.records
               if record.run_id in found.flags and record.run_id not in found.before]  # fmt: skip
    confirmed = []
    if flagged:
        st.warning(
            "Some runs cannot be as they are labelled, going by the datasheet. Confirm those that are right; the others are not kept."
        )
    for record, why in flagged[:20]:
        where = record.source_path.rsplit(", ", 1)[-1]
        if st.checkbox(f"{escape(where)}: {escape(why)} It is right.", key=f"runs-confirm-{record.run_id}"):
            confirmed.append(record.run_id)
    if len(flagged) > 20:
        st.caption(f"and {len(flagged[20:]):,} more, which are not kept; look at the units first.")
    return confirmed


def _consent(uploads: Sequence[Upload], confirmed: Sequence[str]) -> None:
    fresh = list({record.run_id: record for found in uploads for record in found.fresh(confirmed)}.values())
    with st.container(border=True, key="runs-consent"):
        st.markdown("**Use these runs?**")
        if not fresh:
            waits = any(record.run_id not in found.before for found in uploads for record in found.records)
            st.caption("Confirm above those that are right, or correct the file." if waits else "None of them is new.")
        elif may_store():
            st.caption(
                "They then shift the estimates of the machine that they were measured on, for you alone. Kept runs stand in "
                f"`{Queue().folder}` on this computer until you delete them."
            )
        else:
            st.caption(
                "They then shift what you see of this machine until you close this page. Nothing is stored: others use this server too."
            )
        count = f"{len(fresh):,} run{'s' if len(fresh) != 1 else ''}"
        with st.container(horizontal=True):
            if may_store():
                st.button(
                    f"Keep {count} on this computer", type="primary", key="runs-keep", disabled=not fresh, on_click=_take,
                    args=(fresh, True),
                )  # fmt: skip
            st.button(
                f"Use {count} in this session only", type="secondary" if may_store() else "primary", key="runs-use", disabled=not fresh,
                on_click=_take, args=(fresh, False),
            )  # fmt: skip


def _take(records: list[RunRecord], store: bool) -> None:
    """Keeps runs, and remembers what the estimates were before."""
    before = calibrate.in_effect()
    try:
        if store:
            queue = Queue()
            queue.put(records)
            queue.export()
        else:
            runs_session.add(records)
    except RoofcastError as error:
        st.session_state[_DONE] = {"wrong": str(error)}
        return
    after = calibrate.in_effect()
    found = effects(questions(records), before, after) if before is not None and after is not None else []
    st.session_state[_DONE] = {"runs": [record.run_id for record in records], "stored": store, "effects": found}
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1  # the files are dealt with: an empty uploader
    runs_form.forget()


def _undo() -> None:
    done = st.session_state.pop(_DONE, {})
    try:
        if done.get("stored"):
            Queue().forget(done["runs"])
        else:
            runs_session.drop(done.get("runs", ()))
    except RoofcastError as error:
        st.session_state[_DONE] = {"wrong": str(error)}


def _kept() -> None:
    """What the runs just kept have done, and the way back."""
    done = st.session_state.get(_DONE)
    if not done:
        return
    if "wrong" in done:
        st.error(escape(done["wrong"]), icon=":material/error:")
        del st.session_state[_DONE]
        return
    with st.container(border=True, key="runs-effect"):
        where = "on this computer" if done["stored"] else "in this session"
        st.markdown(f":green-badge[:material/check: {len(done['runs'])} kept {where}] **What they change**")
        found = done["effects"]
        told = sentence(found)
        st.markdown(escape(told) if told else "They say nothing of other loads yet: the estimates stay as they were.")
        if found:
            st.dataframe([effect.shown() for effect in found], hide_index=True, key="runs-effects")
        for effect in {effect.what: effect for effect in found}.values():
            st.page_link(
                "estimate.py", label=f"See it on the estimate: {escape(effect.what)}", icon=":material/speed:",
                query_params=dict(parse_qsl(effect.scenario.to_query())),
            )  # fmt: skip
        with st.container(horizontal=True):
            st.button("Undo", icon=":material/undo:", key="runs-undo", on_click=_undo)
            st.button("Done", key="runs-done", on_click=lambda: st.session_state.pop(_DONE, None))
