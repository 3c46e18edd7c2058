"""`python -m harness` is `roofcast bench`."""

from harness.cli import main

main()
