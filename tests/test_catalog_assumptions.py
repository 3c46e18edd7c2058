"""Assumptions: every row has a source and a range that holds its value; the most particular row speaks."""

from __future__ import annotations

import pytest

from core.catalog.assumptions import assume, assumptions
from core.catalog.files import sources
from core.catalog.kernels import kernel, kernel_rules
from core.errors import CatalogError

ROWS = [(name, n, row) for name, entry in assumptions().items() for n, row in enumerate(entry.rows)]


@pytest.mark.parametrize(("name", "n", "row"), ROWS, ids=[f"{name}-{n}" for name, n, _ in ROWS])
def test_every_row_lies_in_its_range_and_has_a_source(name, n, row):
    assert row.low <= row.value <= row.high
    assert row.source in sources()


def test_every_assumption_has_a_row_for_anything():
    for name, entry in assumptions().items():
        assert any(not row.when for row in entry.rows), name


def test_no_share_of_a_peak_or_bandwidth_is_above_one():
    for name, _, row in ROWS:
        if name.endswith("_efficiency"):
            assert 0 < row.value <= 1, name


def test_what_is_said_of_a_runtime_outweighs_what_is_said_of_a_device():
    ampere = assume("layer_overhead", audience="server", family="Ampere")
    slow = assume("layer_overhead", audience="server", family="Ampere", runtime="transformers")
    assert slow.value > 5 * ampere.value


def test_times_are_seconds_inside():
    assert assume("step_overhead").value == pytest.approx(500e-6)
    assert assume("step_overhead").unit == "s"


def test_an_unknown_assumption_says_where_to_add_it():
    with pytest.raises(CatalogError, match="data/catalog/assumptions"):
        assume("speed_of_light")


def test_kernel_table_knows_which_arithmetic_runs():
    ggml = {"engine": "ggml", "backend": "cuda", "kind": "gpu", "audience": "single"}
    assert kernel(**ggml, kernel_class="gguf_k", family="Ada").compute == "int8"
    assert kernel(**ggml, kernel_class="gguf_k", family="Volta").compute == "fp16"
    server = {"audience": "server", "engine": "torch", "backend": "cuda", "kind": "gpu"}
    assert kernel(**server, kernel_class="fp8", family="Hopper").compute == "fp8"
    assert kernel(**server, kernel_class="fp8", family="Ampere").compute == "bf16"
    assert kernel(**server, kernel_class="nvfp4", family="Blackwell dc").cap_tflops == 10000
    assert kernel(**server, kernel_class="nvfp4", family="Hopper").compute == "bf16"


def test_every_kernel_rule_has_a_source():
    assert all(rule.source in sources() for rule in kernel_rules())


def test_the_kernel_changes_with_the_tokens_of_a_step():
    rule = kernel(engine="ggml", backend="cuda", kind="gpu", audience="single", kernel_class="gguf_k", family="Ada")
    assert (rule.few_up_to, rule.few_compute, rule.reads) == (8, "fp32", "as stored")
