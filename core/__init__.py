"""Roofcast's core: scenario in, estimate out. Nothing here imports Streamlit or the harness."""
