"""Measures the user's own machine (arrives with the measuring harness)."""
