"""Pasted launch commands: what becomes of every word, and that writing and reading are each other's way back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.catalog.files import DATA
from core.cli_options import OPTIONS
from core.errors import RoofcastError, ScenarioError
from core.estimate import estimate, launch
from core.launch import LaunchKnobs, launch_command
from core.launch_flags import Flag, Table, tables
from core.launch_parse import parse
from core.scenario import PARTS, Scenario, from_flat
from harness import launch_doc

GOLDEN = json.loads((DATA / "golden" / "launch.json").read_text(encoding="utf-8"))
LOAD = {"prompt_tokens", "output_tokens", "context_depth", "concurrency"}  # a benchmark's, which no server's command says


def without_load(fields: dict[str, Any]) -> dict[str, Any]:
    return {knob: amount for knob, amount in fields.items() if knob not in LOAD}


# ---------------------------------------------------------------- golden


@pytest.mark.parametrize("case", GOLDEN["commands"], ids=lambda case: case["title"])
def test_real_commands(case: dict[str, Any]) -> None:
    parsed = parse(case["command"])
    assert parsed.fields == case["scenario"]
    assert parsed.version == case["version"]
    assert [what for what, _ in parsed.not_modelled] == case["not_modelled"]
    assert list(parsed.unknown) == case["unknown"]
    assert parsed.command() == case["written"]
    assert without_load(parse(parsed.command()).fields) == without_load(parsed.fields)


def test_the_document_of_real_commands_is_current() -> None:
    read = [case["read"] for case in GOLDEN["commands"]]
    assert len(read) >= 10 and sum(map(bool, read)) >= 10
    assert launch_doc.DOCUMENT.read_text(encoding="utf-8") == launch_doc.text(), "run `python -m harness.launch_doc`"


# ---------------------------------------------------------------- the law, both ways

WHOLE = st.integers(1, 1_000_000)
COMMON: dict[str, st.SearchStrategy[Any]] = {"max_context": WHOLE, "max_sequences": st.integers(1, 4096)}
SERVER = {
    **COMMON,
    "token_budget": WHOLE,
    "memory_fraction": st.sampled_from([0.3, 0.85, 0.9, 0.925]),
    "cuda_graphs": st.just(False),
    "tp": st.sampled_from([2, 4, 8]),
    "pp": st.sampled_from([2, 3]),
}
LLAMA = {
    **COMMON,
    "gpu_layers": st.integers(0, 98) | st.just(999),
    "flash_attention": st.booleans(),
    "token_budget": WHOLE,
    "micro_batch": WHOLE,
    "threads": st.integers(1, 256),
    "kv_dtype": st.sampled_from(["f16", "q8_0", "q4_0", "q8_0/q5_1", "f16/q8_0"]),
}
SAYS = {  # runtime → knobs that its command can say
    "vllm": {**SERVER, "dp": st.sampled_from([2, 4]), "kv_dtype": st.sampled_from(["fp8", "f16"])},
    "sglang": {**SERVER, "dp": st.sampled_from([2, 4]), "kv_dtype": st.sampled_from(["fp8", "f16"])},
    "tensorrt-llm": {**SERVER, "kv_dtype": st.sampled_from(["fp8", "int8", "f16"])},
    "tgi": {**SERVER, "tp": st.sampled_from([2, 4]), "pp": st.nothing(), "kv_dtype": st.just("fp8")},
    "lmdeploy": {**SERVER, "pp": st.nothing(), "kv_dtype": st.sampled_from(["int8", "int4_per_token_head", "fp8"])},
    "llama.cpp": LLAMA,
    "ik_llama.cpp": LLAMA,
    "ollama": {
        **COMMON,
        "gpu_layers": st.integers(0, 98),
        "micro_batch": WHOLE,
        "threads": st.integers(1, 256),
        "kv_dtype": st.sampled_from(["f16", "q8_0", "q4_0"]),
    },
    "mlx": {"max_sequences": WHOLE, "token_budget": WHOLE, "kv_dtype": st.sampled_from(["mlx_4", "mlx_8"])},
}


@st.composite
def launches(draw: st.DrawFn) -> LaunchKnobs:
    runtime = draw(st.sampled_from(sorted(SAYS)))
    known = {knob: values for knob, values in SAYS[runtime].items() if not values.is_empty}
    chosen = draw(st.lists(st.sampled_from(sorted(known)), unique=True))
    knobs = {knob: draw(known[knob]) for knob in chosen}
    if runtime in ("vllm", "sglang") and draw(st.booleans()):
        knobs["ep"] = knobs.get("tp", 1) * knobs.get("dp", 1)
    model = "mlx-community/Qwen3-30B-A3B-4bit" if runtime == "mlx" else "Qwen/Qwen3-30B-A3B"
    quant = {"mlx": "MLX-4bit", "llama.cpp": "Q8_0", "ik_llama.cpp": "Q8_0", "ollama": "Q8_0"}.get(runtime)
    return LaunchKnobs(model, runtime, quant=quant, keep_defaults=True, **knobs)


@given(launches())
@settings(max_examples=300, deadline=None)
def test_what_is_written_is_read_back(knobs: LaunchKnobs) -> None:
    fields = parse(launch_command(knobs)).fields
    assert fields.pop("runtime") == knobs.runtime
    assert fields.pop("model") == "Qwen/Qwen3-30B-A3B"
    assert fields.pop("quant", None) == knobs.quant
    count = fields.pop("count", None)
    for knob, amount in fields.items():
        if knob == "flash_attention" and knobs.runtime == "ollama":
            assert amount  # a quantised cache needs it, so the writer says so
        else:
            assert getattr(knobs, knob) == amount, knob
    for knob in SAYS[knobs.runtime]:
        if getattr(knobs, knob) not in (None, 1) or knob not in ("tp", "pp", "dp"):
            assert fields.get(knob) == getattr(knobs, knob), knob
    if knobs.runtime in ("vllm", "sglang", "tensorrt-llm", "lmdeploy"):
        assert count == knobs.tp * knobs.pp * knobs.dp


@pytest.mark.parametrize(
    "knobs",
    [
        {"model": "Qwen/Qwen3-8B", "device": "RTX 4090", "quant": "Q4_K_M", "max_context": 8192, "max_sequences": 4},
        {"model": "deepseek-ai/DeepSeek-R1", "device": "RTX 4090", "ram_gb": 512, "quant": "Q4_K_M"},
        {"model": "openai/gpt-oss-120b", "device": "RTX 4090", "ram_gb": 128, "kv_dtype": "q8_0"},
        {"model": "Qwen/Qwen3-8B", "device": "RTX 4090", "ram_gb": 64, "quant": "BF16", "gpu_layers": 20},
        {"model": "Qwen/Qwen3-8B", "device": "M4 Max", "runtime": "mlx", "quant": "MLX-4bit", "token_budget": 512},
        {"model": "Qwen/Qwen3-8B", "device": "RTX 4090", "runtime": "ollama", "max_context": 16384, "kv_dtype": "q8_0"},
        {"model": "Qwen/Qwen3-32B", "device": "L40S", "count": 4, "runtime": "vllm", "tp": 2, "dp": 2, "cuda_graphs": False},
        {"model": "deepseek-ai/DeepSeek-R1", "device": "H200", "count": 8, "runtime": "vllm", "tp": 8, "ep": 8, "kv_dtype": "fp8"},
        {"model": "deepseek-ai/DeepSeek-R1", "device": "H200", "count": 8, "runtime": "sglang", "tp": 1, "dp": 8, "ep": 8},
        {"model": "deepseek-ai/DeepSeek-R1", "device": "B200", "count": 8, "runtime": "tensorrt-llm", "quant": "NVFP4", "tp": 8, "ep": 8},
        {"model": "meta-llama/Llama-3.1-70B-Instruct", "device": "L40S", "count": 8, "runtime": "vllm", "tp": 4, "pp": 2, "quant": "FP8"},
        {"model": "Qwen/Qwen3-32B", "device": "A100 SXM4 80GB", "count": 2, "runtime": "lmdeploy", "tp": 2, "kv_dtype": "int8"},
    ],
    ids=lambda knobs: f"{knobs.get('runtime', 'llama.cpp')} {knobs['model'].split('/')[1]}",
)
def test_the_command_of_an_estimate_says_its_scenario(knobs: dict[str, Any]) -> None:
    answer = estimate(from_flat(knobs))
    fields = parse(launch(answer)).fields
    used = answer.resolved
    for knob in ("model", "runtime", "kv_dtype", "cuda_graphs"):
        if knob in knobs:
            assert fields[knob] == knobs[knob], knob
    for knob in ("tp", "pp", "dp", "ep"):
        if knobs.get("runtime", "llama.cpp") not in ("llama.cpp", "ollama"):
            assert fields.get(knob, 1) == used[knob], knob
    for knob in ("max_context", "max_sequences", "token_budget"):
        if knob in knobs:
            assert fields[knob] == knobs[knob], knob
    if knobs.get("runtime", "llama.cpp") == "llama.cpp":
        assert fields["quant"] == used["quant"] or answer.ir.native_quant
        assert fields.get("experts_on_cpu", 0) == used["experts_on_cpu"]
        assert min(fields["gpu_layers"], used["layers"]) == used["gpu_layers"]


def _value(flag: Flag) -> st.SearchStrategy[str]:
    if flag.values:
        return st.sampled_from([*flag.values, *flag.unset])
    if flag.knob in ("kv_keys", "kv_values"):
        return st.sampled_from(["f16", "q8_0", "q4_0", "bf16"])
    if flag.knob in ("tensor_split", "layer_partition"):
        return st.sampled_from(["1,1", "3,1", "1,0,1"])
    if flag.knob in ("visible", "devices"):
        return st.sampled_from(["0", "0,1", "1,2,3"])
    if flag.knob == "overrides":
        return st.sampled_from(["exps=CPU", r"blk\.1[0-9]\.ffn_.*_exps\.=CPU", "attn=CUDA1"])
    if flag.kind == "number":
        return st.sampled_from(["0.5", "0.9", "1"])
    if flag.kind == "text":
        return st.just("word")
    return st.sampled_from(["1", "2", "4", "16"])


@st.composite
def commands(draw: st.DrawFn) -> tuple[str, list[str]]:
    table: Table = draw(st.sampled_from([t for t in tables().values() if t.runtime not in ("ollama", "tensorrt-llm")]))
    every = {name: flag for flag in [*table.flags, *(tables()[table.extends].flags if table.extends else ())] for name in flag.names}
    named = {"model", "file", "repository", "repository_file", "options_file", "attention_dp"}
    usable = {n: f for n, f in every.items() if f.knob not in named and not f.programs and (n.startswith("-") or n.isupper())}
    usable = {n: f for n, f in usable.items() if "." not in n}
    names = draw(st.lists(st.sampled_from(sorted(usable)), unique_by=lambda n: usable[n].knob or n, max_size=8))
    model = {"flag": "-m Qwen3-30B-A3B-Q8_0.gguf"}.get(table.model, "Qwen/Qwen3-30B-A3B")
    if (table.extends or table.runtime) in ("sglang", "tgi", "mlx"):
        model = f"{'--model-id' if table.runtime == 'tgi' else '--model'} Qwen/Qwen3-30B-A3B"
    line, before = [table.commands[0], model], []
    for name in names:
        flag = usable[name]
        if name.startswith("-"):
            line += [name] if flag.takes == "nothing" else [name, "'" + draw(_value(flag)) + "'"]
        else:
            before.append(f"{name}='{draw(_value(flag)) if flag.kind != 'switch' else '1'}'")
    if draw(st.booleans()):
        names, line = [*names, "--no-such-flag"], [*line, "--no-such-flag", "7"]
    return " ".join([*before, *line]), names


@given(commands())
@settings(max_examples=300, deadline=None)
def test_no_word_is_lost_and_what_was_read_is_written_back(case: tuple[str, list[str]]) -> None:
    text, names = case
    parsed = parse(text)
    told = " ".join([what for what, _ in parsed.not_modelled] + list(parsed.unknown) + list(parsed.notes))
    table = tables()[parsed.runtime]
    for name in names:
        found = table.find(name, table.commands[0])
        if found is None or found[0].knob is None:
            assert name in told, name
    assert ("--no-such-flag 7" in parsed.unknown) == ("--no-such-flag" in names)
    assert parse(parsed.command()).fields == parsed.fields


@given(st.text(alphabet="vllm serve-Qq3/8B'\"\\\n=&|;{}#$ <>0123EOF", max_size=120))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused_in_a_sentence(text: str) -> None:
    for prefix in ("", "vllm serve ", "llama-server -m x.gguf ", "docker run ", "FROM "):
        try:
            parse(prefix + text)
        except RoofcastError as error:
            assert str(error).strip()


# ---------------------------------------------------------------- what stands around a command


@pytest.mark.parametrize(
    "text",
    [
        "vllm serve Qwen/Qwen3-8B --max-model-len 4096 -tp 2",
        "$ sudo nohup python3.11 -u -m vllm.entrypoints.openai.api_server --model=Qwen/Qwen3-8B --max_model_len=4096 -tp=2 > log 2>&1 &",
        "# don't\ncd /srv && \\\n  vllm serve \\\n  # it\n  'Qwen/Qwen3-8B' \\\n  -tp 2 --max-model-len 4096  # isn't so",
        "docker run -it --rm --gpus all -v a:b -e X=1 vllm/vllm-openai:v0.11.0 --model Qwen/Qwen3-8B -tp 2 --max-model-len 4096",
        "podman run --device=nvidia.com/gpu=all docker.io/vllm/vllm-openai bash -c 'vllm serve Qwen/Qwen3-8B -tp 2 --max-model-len 4096'",
        "export CUDA_VISIBLE_DEVICES=0,1\nuv run vllm serve Qwen/Qwen3-8B -tp 2 --max-model-len 4096",
        "vllm serve /root/.cache/huggingface/hub/models--Qwen--Qwen3-8B/snapshots/abc123 -tp 2 --max-model-len 4096",
    ],
)
def test_shells_and_containers(text: str) -> None:
    parsed = parse(text)
    assert parsed.fields == {"runtime": "vllm", "model": "Qwen/Qwen3-8B", "max_context": 4096, "tp": 2, "count": 2}


@pytest.mark.parametrize("start", ["cat >./o.yml<<EOF", "cat << 'EOF' > o.yml", "tee o.yml <<-EOF"])
def test_files_written_in_place(start: str) -> None:
    text = f"{start}\nkv_cache_config:\n  dtype: fp8\nEOF\ntrtllm-serve Qwen/Qwen3-8B --config o.yml"
    assert parse(text).fields["kv_dtype"] == "fp8"


def test_what_starts_a_command_is_named() -> None:
    text = "numactl --interleave=all taskset -c 0-31 mpirun -n 8 --oversubscribe trtllm-serve Qwen/Qwen3-8B --tp_size 2"
    parsed = parse(text)
    assert parsed.fields["tp"] == 2
    aside = "numactl --interleave=all; taskset -c 0-31; mpirun -n 8 --oversubscribe"
    assert parsed.notes == (f"What starts the command is left aside: {aside}.",)
    spread = parse("mlx.launch --hostfile hosts.json mlx_lm.server --model mlx-community/Qwen3-4B-8bit --pipeline")
    assert spread.notes == ("What starts the command is left aside: mlx.launch --hostfile hosts.json.",)
    assert [what for what, _ in spread.not_modelled] == ["--pipeline"]


def test_windows_paths_and_one_line_continuations() -> None:
    parsed = parse("C:\\llama\\llama-server.exe -m D:\\models\\Qwen3-8B-Q4_K_M.gguf ^\r\n -ngl 99 -c 8192 `\r\n -np 2")
    assert parsed.fields == {
        "runtime": "llama.cpp", "model": "Qwen/Qwen3-8B", "quant": "Q4_K_M", "gpu_layers": 999, "max_context": 4096, "max_sequences": 2,
    }  # fmt: skip


def test_a_container_says_its_version_and_devices() -> None:
    parsed = parse("docker run --gpus '\"device=2,3\"' ghcr.io/ggml-org/llama.cpp:server-cuda-b6500 -m /m/Qwen3-8B-Q8_0.gguf")
    assert (parsed.version, parsed.fields["count"]) == ("b6500", 2)
    assert parsed.scenario(device="RTX 4090").runtime_version == "b6500"


def test_secrets_are_not_repeated() -> None:
    parsed = parse("HF_TOKEN=hf_secret vllm serve Qwen/Qwen3-8B --api-key sk-secret")
    assert "secret" not in repr((parsed.not_modelled, parsed.unknown, parsed.notes, parsed.command()))


def test_variables_and_files_that_the_text_itself_sets() -> None:
    file = "echo -e 'kv_cache_config:\\n  dtype: fp8' > o.yml"
    parsed = parse(f"model=Qwen/Qwen3-8B\nexport TP=2\n{file}\ntrtllm-serve ${{model}} --tp_size $TP --config o.yml")
    assert parsed.fields == {"runtime": "tensorrt-llm", "model": "Qwen/Qwen3-8B", "tp": 2, "count": 2, "kv_dtype": "fp8"}
    assert not parsed.unknown, "a variable that was put in its place is none of the server's"
    assert parse("vllm serve $MODEL").model_text == "$MODEL"


# ---------------------------------------------------------------- single flags


@pytest.mark.parametrize(
    ("text", "knob", "amount"),
    [
        ("vllm serve Qwen/Qwen3-8B --max-model-len 32k", "max_context", 32_000),
        ("vllm serve Qwen/Qwen3-8B --max-model-len 32K", "max_context", 32_768),
        ('vllm serve Qwen/Qwen3-8B --compilation-config \'{"cudagraph_mode": "NONE"}\' -O3', "cuda_graphs", False),
        ("vllm serve Qwen/Qwen3-8B -O0", "cuda_graphs", False),
        ("vllm serve Qwen/Qwen3-8B -O.cudagraph_mode=NONE", "cuda_graphs", False),
        ('vllm serve Qwen/Qwen3-8B -O \'{"cudagraph_mode": "NONE"}\'', "cuda_graphs", False),
        ("vllm serve Qwen/Qwen3-8B -tp ${TP:-4}", "tp", 4),
        ("vllm serve Qwen/Qwen3-8B \u2014max-model-len 4096", "max_context", 4096),
        ("vllm serve unsloth/Qwen3-8B-bnb-4bit", "quant", "BNB-INT4"),
        ("vllm serve Qwen/Qwen3-8B -q awq_marlin", "quant", "AWQ-INT4"),
        ("vllm serve Qwen/Qwen3-8B-AWQ", "quant", "AWQ-INT4"),
        ("vllm serve Qwen/Qwen3-8B --dtype half", "quant", "FP16"),
        ("vllm serve Qwen/Qwen3-8B --cpu-offload-gb 5", "gpu_layers", 22),  # 6.95e9 weights of 2 bytes in 36 layers: 13.9
        ("sglang serve --model-path Qwen/Qwen3-30B-A3B --tp 4 --moe-a2a-backend deepep", "ep", 4),
        ("sglang serve --model-path Qwen/Qwen3-30B-A3B --tp 2 --dp 2 --ep 2", "ep", 4),  # the estimate knows no experts within a replica
        ("trtllm-serve Qwen/Qwen3-8B --kv_cache_dtype fp8", "kv_dtype", "fp8"),
        ("llama-server -hf unsloth/Qwen3-30B-A3B-GGUF:Q4_K_M -cmoe", "experts_on_cpu", 48),
        ("llama-server -m DeepSeek-R1-Q4_K_M.gguf --n-cpu-moe 10", "experts_on_cpu", 7),  # the first three have none
        ("llama-server -m Qwen3-30B-A3B-Q4_K_M.gguf -ot 'blk\\.(2[0-9])\\.ffn_.*_exps\\.=CPU'", "experts_on_cpu", 10),
        ("llama-server -m Qwen3-30B-A3B-Q4_K_M.gguf -ot '.ffn_(up|down)_exps.=CPU'", "experts_on_cpu", 32),  # two thirds of 48 layers'
        # of several patterns that match a tensor the first decides
        ("llama-server -m Qwen3-30B-A3B-Q4_K_M.gguf -ot 'blk\\.[0-9]\\.=CUDA0' -ot exps=CPU", "experts_on_cpu", 38),
        ("CUDA_VISIBLE_DEVICES='' llama-server -m Qwen3-8B-Q4_K_M.gguf", "gpu_layers", 0),
        ("CUDA_VISIBLE_DEVICES=-1 ollama run qwen3:8b", "gpu_layers", 0),
        ("llama-bench -m Qwen3-8B-Q4_K_M.gguf -fa 0,1", "flash_attention", False),
        ("~/ik_llama.cpp/build/bin/llama-server -m Qwen3-8B-Q4_K_M.gguf", "runtime", "ik_llama.cpp"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -sm none", "count", 1),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -sm none -mg 1", "main_gpu", 1),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -ts 1,0,1", "count", 2),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -ts 3,1", "tensor_split", "3,1"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -ts 3/1/0", "count", 2),
        ("VLLM_PP_LAYER_PARTITION=20,16 vllm serve Qwen/Qwen3-8B -pp 2", "tensor_split", "20,16"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf --numa -ngl 0", "numa", "distribute"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf --numa isolate", "numa", "isolate"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -sm row", "split", "tensor"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -fa --jinja", "flash_attention", True),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -fa off", "flash_attention", False),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -ctv q8_0", "kv_dtype", "f16/q8_0"),
        ("LLAMA_ARG_CTX_SIZE=8192 llama-server -m Qwen3-8B-Q4_K_M.gguf", "max_context", 8192),
        ("llama-server -m Qwen3-30B-A3B-Q4_K_M.gguf -fmoe -rtr", "runtime", "ik_llama.cpp"),
        ("./Qwen3-8B-Q4_K_M.llamafile --host 0.0.0.0", "runtime", "llamafile"),
        ("OLLAMA_CONTEXT_LENGTH=16384 ollama serve\nollama run qwen3:8b", "max_context", 16384),
        ("sglang serve --model Qwen/Qwen3-30B-A3B --tp 2 --cpu-offload-gb 0", "runtime", "sglang"),
        ("python -m sglang.launch_server --model Qwen/Qwen3-30B-A3B --kt-num-gpu-experts 64 --kt-method AMXINT4", "experts_on_cpu", 24),
        ("NUM_SHARD=2 text-generation-launcher --model-id Qwen/Qwen3-8B", "tp", 2),
    ],
)
def test_a_flag_sets_its_knob(text: str, knob: str, amount: Any) -> None:
    assert parse(text).fields[knob] == amount


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('vllm serve Qwen/Qwen3-8B --speculative-config \'{"method": "ngram"}\'', "--speculative-config (method)"),
        ('vllm serve Qwen/Qwen3-8B --kv-transfer-config \'{"kv_connector": "NixlConnector"}\'', "--kv-transfer-config (kv_connector)"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -mg 1", "--main-gpu"),
        ("VLLM_PP_LAYER_PARTITION=20,16 vllm serve Qwen/Qwen3-8B -tp 2", "VLLM_PP_LAYER_PARTITION"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf --n-cpu-moe 4", "--n-cpu-moe"),
        ("llama-server -m Qwen3-30B-A3B-Q4_K_M.gguf -ot 'attn_q=CPU'", "--override-tensor"),
        ("llama-server -m Qwen3-30B-A3B-Q4_K_M.gguf -ot '(a+)+x=CPU'", "--override-tensor"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -kvu", "-kvu"),
        ("vllm serve Qwen/Qwen3-8B -tp 2 -ep", "expert parallel"),  # it has no experts
        ("trtllm-serve Qwen/Qwen3-8B --extra_llm_api_options o.yaml", "o.yaml"),
    ],
)
def test_what_is_not_modelled_is_named(text: str, what: str) -> None:
    assert what in [name for name, _ in parse(text).not_modelled]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "There is no command to read"),
        ("rm -rf /", "'rm' starts no runtime whose command line is known"),
        ("docker run nginx", "The image nginx starts no runtime"),
        ("docker run --gpus all", "names no image"),
        ("vllm serve 'Qwen/Qwen3-8B", "A quote in the command is not closed"),
        ("vllm serve", "The command names no model"),
        ("vllm serve Qwen/Qwen3-8B --max-model-len many", "--max-model-len needs a whole number \\(it is 'many'\\)"),
        ("vllm serve Qwen/Qwen3-8B --max-model-len", "--max-model-len needs a value and none follows it"),
        ("vllm serve Qwen/Qwen3-8B --kv-cache-dtype fp3", "--kv-cache-dtype fp3 is not known; it takes fp8"),
        ("vllm serve Qwen/Qwen3-8B --speculative-config {bad", "--speculative-config needs a JSON object"),
        ("vllm serve Qwen/Qwen3-8B --gpu-memory-utilization 1.5", "^--gpu-memory-utilization must be 1.0 or less \\(it is 1.5\\)"),
        ("vllm serve Qwen/Qwen3-8B -tp 0", "A degree of parallelism is 1 or more"),
        ("llama-server -m Qwen3-30B-A3B-Q4_K_M.gguf --n-cpu-moe -3", "--n-cpu-moe counts layers from the first"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -ts foo", "Shares of the cards are numbers"),
        ("vllm serve a; llama-server -m b.gguf", "starts 2 servers \\(llama.cpp, vllm\\)"),
        ("vllm serve a -cc '" + '{"a":' * 3000 + "1" + "}" * 3000 + "'", "-cc needs a JSON object"),
        ("python -m sglang.launch_server --model-path a/b --tp 4 --dp 3 --enable-dp-attention", "does not divide"),
        ("llama-server -m a.gguf -ot '(=CPU'", "is no regular expression"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -ctk q9", "No KV cache type 'q9/f16'|No KV cache type 'q9'"),
        ("x" * 30_000, "more than a command has"),
    ],
)
def test_nonsense_gets_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        parse(text)


@pytest.mark.parametrize(
    ("text", "vision", "written"),
    [
        ("vllm serve Qwen/Qwen3-VL-8B-Instruct --language-model-only", False, "--language-model-only"),
        ("vllm serve Qwen/Qwen3-VL-8B-Instruct --limit-mm-per-prompt '{\"image\": 0}'", False, "--limit-mm-per-prompt.image 0"),
        ("vllm serve Qwen/Qwen3-VL-8B-Instruct --limit-mm-per-prompt.image 4", None, "--limit-mm-per-prompt.image 4"),
        ("llama-server -m gemma-3-27b-it-Q4_K_M.gguf --mmproj mmproj-F16.gguf", True, "--mmproj mmproj-F16.gguf"),
        ("llama-server -hf ggml-org/gemma-3-4b-it-GGUF --no-mmproj", False, "--no-mmproj"),
        ("llama-server -m Llama-3.1-8B-Instruct-Q4_K_M.gguf --mmproj other.gguf", None, "--mmproj other.gguf"),
        ("python -m sglang.launch_server --model-path Qwen/Qwen3-VL-8B-Instruct --enable-multimodal", True, "--enable-multimodal"),
        ("python -m sglang.launch_server --model-path Qwen/Qwen3-VL-8B-Instruct --language-only", False, "--language-only"),
        ("lmdeploy serve api_server Qwen/Qwen2.5-VL-7B-Instruct --disable-vision-encoder", False, "--disable-vision-encoder"),
    ],
)
def test_whether_the_vision_tower_is_loaded(text: str, vision: bool | None, written: str) -> None:
    parsed = parse(text)
    assert parsed.fields.get("vision") is vision and not parsed.unknown
    assert parsed.command().endswith(written)
    assert parse(parsed.command()).fields == parsed.fields


@pytest.mark.parametrize(
    ("knobs", "written"),
    [
        ({"runtime": "vllm", "images": 2}, "--limit-mm-per-prompt.image 2"),
        ({"runtime": "vllm", "vision": False}, "--language-model-only"),
        ({"runtime": "vllm", "vision": True}, ""),
        ({"runtime": "llama.cpp", "images": 1}, "--mmproj mmproj.gguf"),
        ({"runtime": "llama.cpp"}, ""),
        ({"runtime": "ollama", "vision": False}, "# Ollama has no flag that leaves out the vision tower."),
    ],
)
def test_a_command_loads_the_tower_as_the_scenario_has_it(knobs: dict[str, Any], written: str) -> None:
    asked = from_flat(
        {"model": "Qwen/Qwen3-VL-8B-Instruct", "device": "RTX 5090", "quant": "FP8" if knobs["runtime"] == "vllm" else None, **knobs}
    )
    command = launch(estimate(asked))
    assert written in command
    assert ("mm" in command.replace("nvidia-smi", "")) == ("mm" in written) and "language" not in command.replace(written, "")


# ---------------------------------------------------------------- the tables


def test_tables_set_knobs_that_exist_and_explain_the_rest() -> None:
    known = {*PARTS, *Scenario.model_fields, *(option.knob for option in OPTIONS)}
    words = {  # a runtime's own, which core.launch_heard translates
        "dtype", "quantization", "expert_parallel", "attention_dp", "visible", "cpu_offload_gib", "options_file", "fraction_in_file",
        "file", "repository", "repository_file", "url", "revision", "all_experts", "overrides", "split_mode", "layer_partition",
        "devices", "all_context", "kv_keys", "kv_values", "spread", "server_context", "pipeline", "sharded", "gpu_experts",
        "mmproj", "image_limit",
    }  # fmt: skip
    for table in tables().values():
        for flag in table.flags:
            assert flag.why or flag.knob in known | words, f"{table.runtime} {flag.names[0]}"
            assert flag.why is None or len(flag.why) > 10
