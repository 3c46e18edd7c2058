"""Which build ran: as the sources of runs write versions."""

from __future__ import annotations

import pytest

from core.catalog.flavours import flavour, flavours
from core.catalog.runtimes import runtimes
from core.corpus import SHIPPED, open_corpus, runs_table

GGML, MLX = ("llama.cpp",), ("mlx",)


@pytest.mark.parametrize(
    ("engines", "version", "build"),
    [
        # kyuz0's toolboxes name image and driver in brackets
        (GGML, "ROCm b7670 [rocm6_4_4-rocwmma]", "rocWMMA+ROCm 6"),
        (GGML, "ROCm b9187 [rocm6_4_4]", "ROCm 6"),
        (GGML, "ROCm b10217 [rocm-7.2.4]", "ROCm 7"),
        (GGML, "ROCm b6486 [rocm7_rc-rocwmma-fa_all_quants]", "rocWMMA+ROCm 7"),
        (GGML, "Vulkan b9187 [vulkan_amdvlk]", "AMDVLK"),
        (GGML, "Vulkan b10269 [vulkan-radv]", "RADV"),
        # lhl's name the build's folder
        (GGML, "ROCm b5863 [llama.cpp-rocwmma 1]", "rocWMMA"),
        (GGML, "ROCm b5863 [llama.cpp-hip]", ""),
        (GGML, "Vulkan,RPC b6118 [llama.cpp-vulkan_amdvlk -b 256]", "AMDVLK"),
        # servers on MLX
        (MLX, "omlx-0.3.4 0.3.4", "oMLX"),
        (MLX, "mlx-vlm-0.4.4 0.4.4", "mlx-vlm"),
        (MLX, "vllm-mlx 0.31.3", "vllm-mlx"),
        (MLX, "lmstudio-mlx", "LM Studio"),
        (MLX, "mlx-lm 0.31.2", ""),
    ],
)
def test_versions_as_sources_write_them(engines: tuple[str, ...], version: str, build: str) -> None:
    assert flavour(engines, version) == build


def test_a_word_counts_for_its_own_engine_only() -> None:
    assert flavour(("vllm",), "ROCm b7670 [rocm6_4_4-rocwmma]") == ""
    assert flavour(("ollama", "llama.cpp"), "Windows native, rocWMMA") == "rocWMMA+native Windows"


def test_nothing_said_is_no_build() -> None:
    assert flavour(GGML, None) == flavour(GGML, "") == flavour((), "rocwmma") == ""


def test_every_build_is_of_a_runtime_that_exists_and_was_measured() -> None:
    """One that no run names could not be fitted."""
    assert {one.engine for one in flavours()} <= set(runtimes())
    texts = [str(text).lower() for text in runs_table(open_corpus((SHIPPED,)))["runtime_version"].unique()]
    assert [one.name for one in flavours() if not any(word in text for text in texts for word in one.words)] == []
