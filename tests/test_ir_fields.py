"""What a config says of how its weights are quantised."""

from __future__ import annotations

from typing import Any

import pytest

from core.catalog.models import ir
from core.errors import ScenarioError
from core.ir_fields import published_quant

CT = "compressed-tensors"


@pytest.mark.parametrize(
    ("raw", "quant"),
    [
        ({"quant_method": "exl3", "bits": 4.0}, "EXL3-4.0bpw"),
        ({"quant_method": "exl2", "bits": 4.25}, "EXL2-4.25bpw"),
        ({"quant_method": "auto-round", "bits": 4, "group_size": 128}, "AUTOROUND-INT4"),
        ({"quant_method": "gptq", "bits": 3}, None),
        ({"quant_method": "fp8", "ignore": 5}, "FP8"),
        ({"quant_method": CT, "config_groups": {"group_0": [1]}}, None),
        ({"quant_method": CT, "config_groups": {"group_0": {"weights": "x"}}}, None),
        ({"quant_method": CT, "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "int"}}}}, "INT8-WO"),
    ],
)
def test_a_published_quantisation_is_named_or_left_open(raw: dict[str, Any], quant: str | None) -> None:
    assert published_quant(raw) == quant


def test_a_type_of_weights_set_by_hand_is_one_that_counts() -> None:
    assert ir("Qwen/Qwen3-8B?torch_dtype=float32").native_dtype == "float32"
    with pytest.raises(ScenarioError, match="torch_dtype = 'float8', which is not one of bfloat16, float16, float32"):
        ir("Qwen/Qwen3-8B?torch_dtype=float8")
