"""What a few own runs are worth, from machines that were left out: `python -m harness.few_shot` writes it below data/fitted."""

from __future__ import annotations

from core.calibrate_simulate import simulate


def main() -> None:
    """Estimates and scores; needs the scores of `roofcast validate --full`. Minutes."""
    simulate()


if __name__ == "__main__":
    main()
