"""Units of every number in the core, and the only table of prefixes.

Inside the core every number is in the base unit named by its alias (bytes, seconds, FLOP/s, US dollars, watts, joules);
prefixes appear only where people read or write: files, pages, the command line.
"""

from __future__ import annotations

from typing import Annotated, Any

# The alias is a plain number to the type checker; its second argument is the unit that `quantity` shows
# and that the dimension test (tests/test_dimensions.py) gives to pint.
Count = Annotated[Any, ""]  # layers, heads, tokens, sequences, ratios: dimensionless
Tokens = Annotated[Any, "tok"]
Flop = Annotated[Any, "FLOP"]  # a count of floating-point operations
FlopRate = Annotated[Any, "FLOP/s"]
Bytes = Annotated[Any, "B"]
Bits = Annotated[Any, "bit"]
ByteRate = Annotated[Any, "B/s"]
Seconds = Annotated[Any, "s"]
TokenRate = Annotated[Any, "tok/s"]
Rate = Annotated[Any, "1/s"]
Intensity = Annotated[Any, "FLOP/B"]
Watts = Annotated[Any, "W"]
Joules = Annotated[Any, "J"]
Dollars = Annotated[Any, "USD"]
DollarRate = Annotated[Any, "USD/s"]
DollarsPerJoule = Annotated[Any, "USD/J"]

KB, MB, GB, TB = 1e3, 1e6, 1e9, 1e12
KIB, MIB, GIB, TIB = 2.0**10, 2.0**20, 2.0**30, 2.0**40
TFLOP = 1e12
MS, US = 1e-3, 1e-6
HOUR = 3600.0
MONTH_HOURS = 720.0  # a month of 30 days, as the specification bills it
KWH = 3.6e6  # joules

_STEPS_DECIMAL = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_STEPS_BINARY = ((TIB, "Ti"), (GIB, "Gi"), (MIB, "Mi"), (KIB, "Ki"), (1.0, ""))


def significant(value: float, digits: int = 3) -> str:
    """A number as people read it: `digits` significant figures, thousands separated, no exponent below 10^15."""
    if value != value:
        return "unknown"
    if value in (float("inf"), float("-inf")):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    magnitude = abs(value)
    if magnitude >= 1e15 or magnitude < 1e-6:
        return f"{value:.{digits - 1}e}"
    if magnitude >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    decimals = digits - 1
    while magnitude < 1:
        magnitude *= 10
        decimals += 1
    while magnitude >= 10:
        magnitude /= 10
        decimals -= 1
    return f"{value:,.{max(decimals, 0)}f}"


def show(value: float, unit: str, digits: int = 3) -> str:
    """A number with its unit, scaled: bytes in binary prefixes, rates and FLOP in decimal ones, seconds in s, ms or µs."""
    if value != value:
        return "unknown"
    if unit == "B":
        for step, prefix in _STEPS_BINARY:
            if abs(value) >= step or step == 1.0:
                return f"{significant(value / step, digits)} {prefix}B"
    if unit in ("B/s", "FLOP", "FLOP/s", "bit"):
        for step, prefix in _STEPS_DECIMAL:
            if abs(value) >= step or step == 1.0:
                return f"{significant(value / step, digits)} {prefix}{unit}"
    if unit == "s":
        if abs(value) >= 1 or value == 0:
            return f"{significant(value, digits)} s"
        if abs(value) >= MS:
            return f"{significant(value / MS, digits)} ms"
        return f"{significant(value / US, digits)} µs"
    if unit == "USD":
        return f"${significant(value, digits)}"
    if unit == "USD/s":
        return f"${significant(value * HOUR, digits)}/h"
    if unit == "USD/J":
        return f"${significant(value * KWH, digits)}/kWh"
    text = significant(value, digits)
    return f"{text} {unit}" if unit else text
