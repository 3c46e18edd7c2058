"""The runtimes' catalog: valid, found by every name that measured runs use, and right about the past."""

from __future__ import annotations

import pytest

from core.catalog import quants, runtimes
from core.catalog.files import record, sources
from core.catalog.runtimes import FACTS, Runtime, backend_for, check_supported, runtime, search_runtimes, supports
from core.errors import CatalogError, ScenarioError
from core.units import GIB

DESCRIBED = ["llama.cpp", "mlx", "ollama", "sglang", "tensorrt-llm", "vllm"]
CORPUS_LABELS = [  # the column "runtime" of the measured runs
    "llama.cpp",
    "vllm",
    "tensorrt-llm",
    "llamafile",
    "sglang",
    "mlx",
    "ollama",
    "deepspeed",
    "transformers",
    "deepspeed-mii",
    "ik_llama.cpp",
    "lmdeploy",
    "rkllm",
    "sambaflow",
    "exllamav3",
    "exllamav2",
    "mlc-llm",
    "exllama",
    "ctranslate",
    "pytorch lightning",
    "nvidia tensorrt-llm",
    "lmstudio",
    "auto-gptq",
    "ctransformers",
    "onnx",
    "optimum nvidia",
    "autoawq",
    "gptq-for-llama",
]


def test_every_runtime_is_valid_and_cites_what_exists() -> None:
    for entry in runtimes.runtimes().values():
        assert set(entry.kv_dtypes) <= set(quants.kv_dtypes()), entry.id
        assert entry.default_kv_dtype in entry.kv_dtypes
        assert set(entry.sources) <= set(sources())
        for field in entry.facts:
            assert entry.fact(field).unit == FACTS[field][0]
        for change in entry.versions:
            assert change.source in sources()
            assert entry.at(change.from_version, change.from_date) != entry.at("b1", "2000-01-01")


def test_described_runtimes_have_the_facts_that_the_estimate_needs() -> None:
    assert [r.id for r in runtimes.runtimes().values() if r.treated_as is None] == DESCRIBED
    for name in DESCRIBED:
        for field in ("block_tokens", "max_sequences", "token_budget", "context_memory"):
            assert runtime(name).fact(field).value > 0


def test_runtimes_whose_speed_is_anothers_are_described_for_the_rest() -> None:
    described = {r.id for r in runtimes.runtimes().values() if r.described}
    assert described == {
        "exllamav2", "exllamav3", "ik_llama.cpp", "ktransformers", "llamafile", "lmdeploy", "lmstudio", "mlc-llm", "rkllm", "tgi",
        "transformers",
    }  # fmt: skip
    for name in described:
        entry = runtime(name)
        assert entry.treated_as and entry.as_of and entry.sources and entry.note, name
        for fact in ("block_tokens", "token_budget", "max_sequences"):
            found = entry.fact(fact)
            assert found.value > 0 and found.source is not None, f"{name} {fact}"


@pytest.mark.parametrize("label", CORPUS_LABELS)
def test_labels_of_measured_runs_resolve(label: str) -> None:
    entry = runtime(label)
    assert entry.treated_as is None or (entry.note and entry.guess is not entry.described)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llamacpp", "llama.cpp"),
        ("llama-cpp", "llama.cpp"),
        ("trtllm", "tensorrt-llm"),
        ("TensorRT-LLM", "tensorrt-llm"),
        ("mlx-lm", "mlx"),
        ("LM Studio", "lmstudio"),
        ("text-generation-inference", "tgi"),
        ("VLLM", "vllm"),
    ],
)
def test_aliases(name: str, expected: str) -> None:
    assert runtime(name).id == expected


def test_an_unknown_runtime_gets_suggestions() -> None:
    with pytest.raises(CatalogError, match=r"There is no runtime 'vlm' in the catalog; did you mean .*vLLM"):
        runtime("vlm")
    assert search_runtimes("tensorrt")[0].id == "tensorrt-llm"
    assert len(search_runtimes("")) == len(runtimes.runtimes())


def test_facts_are_cited_leaves() -> None:
    block = runtime("vllm").fact("block_tokens")
    assert (block.value, block.unit, block.kind) == (16, "tok", "constant")
    assert block.source is not None and "--block-size" in (block.source.note or "")
    context = runtime("ctransformers").fact("context_memory")
    assert context.kind == "assumption" and context.source is not None
    assert context.source.guess and context.source.low is not None
    assert "treated as llama.cpp" in (context.source.note or "")
    cache = runtime("lmdeploy").fact("block_tokens")  # its own record: no guess, though its speed is another's
    assert (cache.value, cache.kind) == (64, "constant")
    assert runtime("vllm").get("max_context") is None
    with pytest.raises(CatalogError, match="has no default for 'max_context'"):
        runtime("vllm").fact("max_context")


@pytest.mark.parametrize(
    ("name", "field", "device", "gib", "expected"),
    [
        ("vllm", "token_budget", "H100 80GB", 80, 8192),
        ("vllm", "token_budget", "A100 80GB", 80, 2048),
        ("vllm", "max_sequences", "RTX 4090", 24, 256),
        ("vllm", "max_sequences", "H200", 141, 1024),
        ("sglang", "token_budget", "RTX 4090", 24, 2048),
        ("sglang", "token_budget", "B200", 180, 16384),
        ("sglang", "memory_fraction", "H100 80GB", 80, 0.835),
        ("ollama", "max_context", "RTX 4090", 24, 32768),
        ("ollama", "max_context", "RTX 4060", 8, 4096),
        ("lmdeploy", "max_sequences", "A100 40GB", 40, 384),
        ("lmdeploy", "max_sequences", "H200", 141, 1024),
        ("lmdeploy", "max_sequences", "RTX 4090", 24, 128),
    ],
)
def test_defaults_that_depend_on_the_card(name: str, field: str, device: str, gib: float, expected: float) -> None:
    assert runtime(name).fact(field, device=device, device_memory=gib * GIB).value == expected


def test_versions_look_back() -> None:
    vllm = runtime("vllm")
    assert vllm.at() is vllm and vllm.at("0.25.0") is vllm
    assert vllm.at("0.18") is vllm  # as 0.18.0, where the last change came
    assert vllm.fact("memory_fraction").value == 0.92 and vllm.at("0.12.0").fact("memory_fraction").value == 0.90
    assert vllm.chunked_prefill and not vllm.at("v0.6.3.post1").chunked_prefill
    assert not vllm.at("2024 (paper)", "2024").chunked_prefill  # no version in the text: the date decides
    llama = runtime("llama.cpp")
    assert llama.at("CUDA b3600").fact("max_context").value == 4096
    assert not llama.at("CUDA b3600").flash_attention and llama.at("CUDA b3600").swa_full
    assert llama.at("ROCm b7900 [rocm6_4_4]") is llama and llama.at("b7693").mla_cache == "latent_and_values"
    assert llama.at("CPU b6800").fact("max_sequences").value == 1 and not llama.at("CPU b6800").unified_kv
    ollama = runtime("ollama")
    assert ollama.at("ROCm, Ollama 0.13.2").fact("max_context", device_memory=80 * GIB).value == 4096
    assert ollama.at(None, "2024-10").fact("max_sequences").value == 4
    assert ollama.at("0.5.1").fact("max_context").value == 2048


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("b7423", (7423,)),
        ("ROCm 6.0.2", None),
        ("v0.8.1.post2", (0, 8, 1)),
        ("CUDA 12.1", None),
        ("2024 (paper)", None),
        ("1.0.0+cu128.torch2.8.0", (1, 0, 0)),
        ("", None),
    ],
)
def test_version_numbers_in_labels(text: str, expected: tuple[int, ...] | None) -> None:
    assert runtimes.version_number(text) == expected


@pytest.mark.parametrize(
    ("name", "vendor", "kind", "expected"),
    [
        ("llama.cpp", "NVIDIA", "gpu", "cuda"),
        ("llama.cpp", "AMD", "gpu", "rocm"),
        ("llama.cpp", "Apple", "gpu", "metal"),
        ("llama.cpp", "Broadcom", "cpu", "cpu"),
        ("ollama", "Intel", "gpu", "vulkan"),
        ("vllm", "Google", "tpu", "tpu"),
        ("rkllm", "Rockchip", "npu", "npu"),
    ],
)
def test_backend_that_suits(name: str, vendor: str, kind: str, expected: str) -> None:
    assert backend_for(runtime(name), vendor, kind) == expected


def test_no_backend_is_a_sentence() -> None:
    with pytest.raises(ScenarioError, match=r"MLX does not run on NVIDIA devices \(it has Metal\); choose .*llama.cpp"):
        backend_for(runtime("mlx"), "NVIDIA", "gpu")
    for name in ("llama.cpp", "vllm"):
        with pytest.raises(ScenarioError, match="AWS's accelerators are not supported yet: Neuron runtimes alone"):
            backend_for(runtime(name), "AWS", "npu")
    with pytest.raises(ScenarioError, match="TensorRT-LLM does not run on CPUs"):
        backend_for(runtime("trtllm"), "Intel", "cpu")


def test_an_unsupported_quantisation_is_a_sentence() -> None:
    scheme = quants.quant("Q4_K_M")
    with pytest.raises(ScenarioError) as caught:
        check_supported(runtime("vllm"), "cuda", scheme.container, scheme.kernel_class, "Q4_K_M")
    assert str(caught.value) == (
        "vLLM does not run Q4_K_M (a GGUF quantisation); it runs BF16, F16, FP8, INT8, AWQ-INT4, GPTQ-INT4, GPTQ-INT8, "
        "NVFP4, MXFP4. Choose one of these or llama.cpp."
    )
    check_supported(runtime("llama.cpp"), "cuda", scheme.container, scheme.kernel_class, "Q4_K_M")
    with pytest.raises(ScenarioError, match=r"vLLM does not run NVFP4 on ROCm; it runs .*\. Choose"):
        check_supported(runtime("vllm"), "rocm", "safetensors", "nvfp4", "NVFP4")
    with pytest.raises(ScenarioError, match="MLX has no CUDA backend; it has Metal"):
        check_supported(runtime("mlx"), "cuda", "mlx", "mlx", "MLX-4bit")


def test_default_quantisations_are_supported() -> None:
    for name in DESCRIBED:
        entry = runtime(name)
        scheme = quants.quant(entry.default_quant)
        assert all(supports(entry, b, scheme.container, scheme.kernel_class) for b in entry.backends), name
    assert supports(runtime("llama.cpp"), "cuda", "safetensors", "f16")  # unquantised weights convert without loss


def test_nonsense_is_refused() -> None:
    raw = runtime("vllm").model_dump()
    with pytest.raises(CatalogError, match="no fact is called blok_tokens"):
        record(Runtime, {**raw, "facts": {**raw["facts"], "blok_tokens": {"value": 1, "source": "vllm-docs"}}}, "test")
    with pytest.raises(CatalogError, match="lies outside low and high"):
        fact = {"value": 5, "low": 6, "high": 7, "source": "vllm-docs"}
        record(Runtime, {**raw, "facts": {**raw["facts"], "block_tokens": fact}}, "test")
