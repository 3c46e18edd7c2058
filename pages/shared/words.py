"""The page's longer texts."""

from __future__ import annotations

ABOUT = "Will it fit, how fast, for how many users, and what holds it back?"
SMALL_SCREEN = '<div class="small-screen">Choose model, machine and load behind » at the top.</div>'
LABEL = (
    "**Analytic, uncorrected.** Computed from datasheets and the model's shape, not yet corrected by measurements. "
    "Ranges come with the measured correction."
)
CORRECTED = (
    "**Corrected by measurements.** The range under a number goes from the 10th to the 90th percentile: it is meant to "
    "hold 8 of 10 measured runs."
)
OWN_RUNS = (
    "Your own runs shift these numbers and narrow their ranges, as far as they leave no doubt. They stand under “Your runs”, where "
    "they can be deleted; click a speed to see how much they shift it."
)
NEAREST_RUNS = (
    "Runs of other people, and yours, that say most about this answer: each is another configuration or comes from "
    "another source. Distance counts what differs: at 1 our errors on two runs typically part by a tenth, and two people "
    "who measure the very same thing already part by about 0.7. “Ours” is today's estimate of that run, which the fit may "
    "have known."
)
TRUST = (
    "How far to trust this answer. **Measured**: this very configuration was run at nearly this load. **Interpolated**: "
    "it lies between measured runs. **Unmeasured**: it is computed, and no run stands behind it. *Tail* is the slowest "
    "answers among many (95th percentile). The reasons and the nearest runs stand under Evidence."
)
SUPPORT = (
    "What the measured runs know. **Seen**: they hold this very one. **Near**: they hold a relative, such as another card "
    "of the same architecture. **Far**: neither."
)
NO_RUNS = "There are no measured runs to show."
CLICK = "Click any number to see how it was calculated, down to its sources."
DECODE = "How fast the answer is written, once it has begun: tokens a second that one user sees. People read at about 5."
TTFT = "From asking to the first token: waiting for others, then reading the prompt."
PREFILL = "How fast the prompt is read. All its tokens go through the model together."
TOTAL = "Tokens of all users' answers together, a second."
MEMORY = "What the fullest device holds at its peak, against what programs can use of it."
ROOFLINE = (
    "A device can do no more than its arithmetic peak (the flat roof), and no more than its memory can feed it "
    "(the slope). Left of the dashed ridge memory limits, right of it compute. The distance from a point up to "
    "the roof is what this runtime is expected to leave unused."
)
BY_USERS = "Each user asks again as soon as the answer is complete. The circle marks your scenario."
MEASURED_POINTS = (
    "Green diamonds are measured runs of this very configuration, at nearly this load otherwise. Point at one to see who "
    "measured it and what differs."
)
BY_PROMPT = "The prompt grows up to the longest context of the model, one load otherwise unchanged. The circle marks your scenario."
ASSUMPTIONS = (
    "Everything below the numbers shown that no datasheet states: assumptions with their plausible range, guesses "
    "that no document backs, and what you set yourself."
)
WHAT_HELPS = "Which single change would help most, at no cost and for money, stands under “What would help” below."
LAUNCH = "The command that starts the runtime as it was estimated here. Flags that equal the runtime's default are left out."
MONEY = "At this load, around the clock for a month of 720 hours. Purchase is spread over the useful hours of the machine's life."
PREVIEW = (
    "See how fast the answer would appear. The text is fixed and was not written by the model; only its pace is "
    "the prediction. The preview ends after ten seconds."
)
NEAREST = "Nearest things that fit"
LINK = "The address of this page holds the whole scenario: copy it to share or keep this state."


def escape(text: str) -> str:
    """Text in which Markdown sees no markup."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]$~:#<>" else letter for letter in text)


def with_unit(span: str, shown: str) -> str:
    """A range with the unit of the number above it, "14–18 tok/s", where it does not name its own."""
    return f"{span} {shown.rsplit(' ', 1)[-1]}" if span and " " not in span else span
