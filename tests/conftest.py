"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# The same examples every time, so that a run says something about the code; `HYPOTHESIS_PROFILE=search` looks further.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
