"""The few rules of look that themes cannot say."""

from __future__ import annotations

import streamlit as st

_CSS = """
<style>
.block-container, [data-testid="stMainBlockContainer"] { padding-top: 4.4rem; padding-bottom: 4rem; max-width: 1180px; }
[data-testid="stSidebarContent"] [data-testid="stVerticalBlock"] { gap: 0.7rem; }
.st-key-answer h1 { font-size: clamp(1.25rem, 0.95rem + 1.35vw, 1.85rem); line-height: 1.32; font-weight: 600;
  letter-spacing: -0.01em; padding: 0.3rem 0 0.9rem; text-wrap: pretty; overflow-wrap: anywhere; }
[class*="st-key-tile-"] { gap: 0.1rem !important; }
[class*="st-key-tile-"] button { padding: 0; min-height: 0; justify-content: flex-start; text-align: left; }
[class*="st-key-tile-"] button p { font-size: 1.55rem; line-height: 1.25; font-weight: 600; letter-spacing: -0.01em;
  font-variant-numeric: tabular-nums; text-decoration: underline dotted; text-decoration-thickness: 1.5px;
  text-underline-offset: 6px;
  text-decoration-color: color-mix(in srgb, currentColor 35%, transparent); }
[class*="st-key-tile-"] button:hover p { text-decoration-color: currentColor; }
[class*="st-key-target-"] [class*="st-key-tile-"] button p { font-size: 1.15rem; }
[class*="st-key-line-"] button, [class*="st-key-step-"] button { padding: 0; min-height: 0; justify-content: flex-start;
  text-align: left; }
[class*="st-key-line-"] button p { font-variant-numeric: tabular-nums; text-decoration: underline dotted;
  text-underline-offset: 4px; text-decoration-color: color-mix(in srgb, currentColor 35%, transparent); }
.st-key-explained { gap: 0.35rem !important; }
.st-key-explained-value p { font-size: 2rem; line-height: 1.25; font-weight: 650; font-variant-numeric: tabular-nums; }
[class*="st-key-trail"] button { padding: 0; min-height: 0; }
[class*="st-key-inputs"] { gap: 0.35rem !important; }
[class*="st-key-near-run-"] [data-testid="stVerticalBlock"] { gap: 0.35rem; }
[data-testid="stCode"] pre, [data-testid="stCode"] code { font-size: 0.86rem; }
[data-testid^="stBaseButton-primary"], [data-testid^="stBaseButton-primary"] *, [data-testid="stMultiSelectTagsContainer"] > span > span,
[data-testid="stMultiSelectTagsContainer"] > span > span * { color: light-dark(#ffffff, #0d141b) !important; }
.rank-grid section { margin-bottom: 1rem; }
.rank-grid h4 { font-size: 0.95rem; margin: 0 0 0.45rem; padding: 0; }
.rank-grid small { font-weight: 400; opacity: 0.7; font-size: 0.86rem; }
.rank-grid .ranks { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 10rem), 1fr)); gap: 0.5rem; }
.rank-grid .rank { display: flex; flex-direction: column; gap: 0.12rem; padding: 0.5rem 0.6rem; border-radius: 6px; font-size: 0.8rem;
  border: 1px solid color-mix(in srgb, currentColor 22%, transparent); font-variant-numeric: tabular-nums; }
.rank-grid .rank em { font-style: normal; font-weight: 600; }
.rank-grid .fill { display: block; height: 6px; border-radius: 3px; overflow: hidden;
  background: color-mix(in srgb, currentColor 14%, transparent); }
.rank-grid .fill i { display: block; height: 100%; background: #0072B2; }
.rank-grid .fill i.over { background: #D55E00; }
[data-testid="stFileChip"][aria-invalid="true"] { height: auto; max-width: 100%; flex-wrap: wrap; padding-right: 2rem; }
[data-testid="stFileChip"] > [role="alert"] { position: static; width: auto; height: auto; margin: 0; clip: auto; clip-path: none;
  white-space: normal; overflow: visible; font-size: 0.82rem; }
.small-screen { display: none; opacity: 0.7; font-size: 0.86rem; }
@media (max-width: 640px) {
  .small-screen { display: block; }
  .block-container, [data-testid="stMainBlockContainer"] { padding-left: 1rem; padding-right: 1rem; padding-top: 4rem; }
  [class*="st-key-tile-"] button p { font-size: 1.3rem; }
}
</style>
"""


def apply_style() -> None:
    st.html(_CSS)
