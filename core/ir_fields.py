"""Reading a `config.json`: alternative field names, class defaults, and refusals that name the field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from core.errors import ScenarioError
from core.ir_families import FAMILIES, TEXT_TYPES
from core.ir_family import Family, Switch

# One meaning, the names it goes by; the first one is the name that errors use.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "hidden_size": ("n_embd", "d_model", "n_embed"),
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers"),
    "num_attention_heads": ("n_head", "n_heads"),
    "num_key_value_heads": ("num_kv_heads", "n_head_kv", "multi_query_group_num", "num_attention_groups"),
    "head_dim": ("kv_channels", "attention_head_dim"),
    "intermediate_size": ("n_inner", "ffn_hidden_size", "ffn_dim", "ff_intermediate_size"),
    "vocab_size": ("padded_vocab_size",),
    "max_position_embeddings": ("n_positions", "seq_length", "max_seq_len", "model_max_length", "max_position_embedding"),
    "num_experts": ("num_local_experts", "n_routed_experts", "moe_num_experts"),
    "num_experts_per_tok": ("experts_per_token", "moe_topk", "moe_top_k", "moe_k", "top_k_experts", "num_experts_per_token"),
    "num_nextn_predict_layers": ("mtp_num_hidden_layers",),
    "moe_intermediate_size": ("expert_ffn_hidden_size",),
    "mamba_num_heads": ("mamba_n_heads", "n_mamba_heads"),
    "mamba_head_dim": ("mamba_d_head", "mamba_headdim"),
    "ssm_state_size": ("mamba_d_state", "state_size"),
    "time_step_rank": ("mamba_dt_rank",),
    "expand": ("mamba_expand",),
    "n_groups": ("mamba_n_groups", "mamba_ngroups"),
    "conv_kernel": ("mamba_d_conv",),
    "use_conv_bias": ("mamba_conv_bias",),
    "use_bias": ("mamba_proj_bias",),
    "n_shared_experts": ("moe_num_shared_experts", "num_shared_expert", "num_shared_experts"),
    "first_k_dense_replace": ("moe_layer_start_index", "num_dense_layers"),
    "sliding_window_pattern": ("global_attn_every_n_layers",),
    "sliding_window": ("attention_window_size",),
    "moe_latent_size": ("routed_expert_hidden_size",),
    "torch_dtype": ("dtype",),
}

# A text part inside another config leaves out what its class takes by default (transformers: LlamaConfig, MistralConfig).
_ALIKE = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000}
_NESTED: Mapping[str, Mapping[str, Any]] = {
    "llama": {**_ALIKE, "intermediate_size": 11008},
    "mistral": {**_ALIKE, "intermediate_size": 14336, "num_key_value_heads": 8},
}

# Any name of a field -> the one that errors use.
_MEANING = {name: meaning for meaning, names in ALIASES.items() for name in names}

# Fields of layers whose state and tensors no other family tells.
_RECURRENT = ("ssm_", "mamba_", "linear_", "rwkv_", "wkv_", "kda_", "time_mix", "lru_", "rnn_", "attn_layer_", "shortconv_")

_DTYPES = ("bfloat16", "float16", "float32")  # of weights that are not quantised

# What such a class computes is no next token.
_OTHER_TASK = re.compile(r"(MaskedLM|Classification|QuestionAnswering|Detection|Segmentation|CTC|PreTraining|Encoder|(?<!Chat)Model)$")

# Above these a config is a mistake or a joke, and a tensor list would not end.
LARGEST: Mapping[str, int] = {"num_hidden_layers": 2_000, "num_experts": 100_000, "num_nextn_predict_layers": 16}
LARGEST_SIZE = 2**31 - 1


class Fields:
    """A config with its family's defaults. What is taken without the config saying so is noted in `assumed`.

    `changes` are fields that the user set by hand, over what the config says. A model type that is unknown is taken for
    the nearest family that its fields allow.
    """

    def __init__(self, config: Mapping[str, Any], model_id: str, changes: Mapping[str, Any] | None = None) -> None:
        if not isinstance(config, Mapping):
            raise ScenarioError(f"The config of '{model_id}' is not a table of fields; give what config.json holds.")
        self.id = model_id
        nested = config.get("text_config") or config.get("llm_config") or config.get("language_config")
        raw: Mapping[str, Any] = nested if isinstance(nested, Mapping) else config
        self.changes = {_MEANING.get(name, name): value for name, value in (changes or {}).items()}
        self.outer: Mapping[str, Any] = {**config, **self.changes}
        self.raw: Mapping[str, Any] = {**raw, **self.changes}
        self.asked: set[str] = set()  # fields that were looked up
        self.assumed: dict[str, str] = {}
        self.model_type = self._model_type()
        self.family: Family = FAMILIES[self.model_type]
        self.defaults = {**self.family.defaults, **(_NESTED.get(self.model_type, {}) if raw is nested else {})}
        for name, value in self.changes.items():
            before = next((raw[key] for key in (name, *ALIASES.get(name, ())) if raw.get(key) is not None), None)
            self.assumed[name] = f"{value}, set by you" + ("" if before is None else f"; the config says {before}")

    def check_changes(self) -> None:
        """Raises ScenarioError for a field set by hand that nothing looked up: a typing error, or without effect."""
        for name in self.changes:
            if name not in self.asked | {"model_type"}:
                known = ", ".join(sorted(self.asked))
                raise ScenarioError(f"'{name}' is no field of {self.model_type} models that changes anything; they have {known}.")

    def origins(self, source: str) -> dict[str, tuple[Any, str]]:
        """Each field that was looked up and says something: its value and where it comes from; `source` names the config."""
        found: dict[str, tuple[Any, str]] = {"model_type": (self.model_type, source)}
        for name in sorted(self.asked):
            for key in (name, *ALIASES.get(name, ())):
                value = self.raw.get(key, self.outer.get(key))
                if value is not None and not isinstance(value, Mapping):
                    found[name] = (value, source if key == name else f"{source}, as {key}")
                    break
        for name, note in self.assumed.items():
            if name in found or name in self.defaults:
                value = found[name][0] if name in found else self.defaults[name]
                found[name] = (value, note if name in self.changes else f"assumed: {note}")
        return found

    def _model_type(self) -> str:
        named = [t for t in (self.raw.get("model_type"), self.outer.get("model_type")) if isinstance(t, str) and t]
        if not named:
            raise ScenarioError(f"The config of '{self.id}' has no 'model_type', so its layout is unknown; add it or pick a catalog model.")
        for name in named:
            family = TEXT_TYPES.get(name, name)
            if family in FAMILIES:
                return family
        if self.outer.get("is_encoder_decoder") is True:
            raise ScenarioError(
                f"'{self.id}' ({named[0]}) is an encoder-decoder model, which Roofcast does not estimate; give a decoder-only model."
            )
        written = self.outer.get("architectures")
        if isinstance(written, list) and written and all(isinstance(name, str) and _OTHER_TASK.search(name) for name in written):
            raise ScenarioError(f"'{self.id}' ({written[0]}) does not generate text; give a decoder-only language model.")
        recurrent = next((name for name, value in self.raw.items() if value and name.startswith(_RECURRENT)), None)
        if recurrent is None:
            nearest = _nearest(self.raw)
            self.assumed["model_type"] = f"laid out as a {nearest} model by its fields: the architecture '{named[0]}' is not known"
            if self.raw.get("sliding_window") and not self.raw.get("layer_types"):
                self.assumed["sliding_window"] = "all layers see all tokens, an upper bound: which ones slide is not known"
            return nearest
        alike = get_close_matches(named[0], FAMILIES, 3, 0.7)
        known = f"; types with a like name are {', '.join(alike)}" if alike else ""
        raise ScenarioError(
            f"The architecture '{named[0]}' of '{self.id}' is not supported: its field '{recurrent}' speaks of recurrent layers, whose "
            f"tensors and state nothing else tells. Pick a model of the catalog, or set model_type to a type that is laid out alike{known}."
        )

    def get(self, name: str, default: Any = None) -> Any:
        """The field under any of its names; then the family's default; then `default`. An explicit null is kept out."""
        self.asked.add(name)
        for key in (name, *ALIASES.get(name, ())):
            found = self.raw.get(key)
            if found is not None:
                return found
        if name in self.defaults and name not in self.raw:
            fallback = self.defaults[name]
            self._assume(name, fallback)
            return fallback
        return default

    def _assume(self, name: str, value: Any) -> None:
        self.assumed[name] = f"{value}, the default of {self.model_type} models: the config does not say"

    def outer_get(self, name: str) -> Any:
        """The field in the text part, else beside it: multimodal configs keep some at the top."""
        self.asked.add(name)
        for source in (self.raw, self.outer):
            for key in (name, *ALIASES.get(name, ())):
                if source.get(key) is not None:
                    return source[key]
        return None

    def wrong(self, name: str, value: Any, expected: str) -> ScenarioError:
        shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
        return ScenarioError(
            f"The config of '{self.id}' has {name} = {shown}, which is not {expected}; correct it or pick a catalog model."
        )

    def size(self, name: str, default: int | None = None, *, least: int = 1) -> int:
        """A whole number of at least `least`. Raises ScenarioError when it is not, or missing."""
        value = self.get(name, default)
        if value is None:
            names = " or ".join(f"'{n}'" for n in (name, *ALIASES.get(name, ())))
            raise ScenarioError(f"The config of '{self.id}' ({self.model_type}) lacks {names}; add the field or pick a catalog model.")
        if isinstance(value, list) and value and all(v == value[0] for v in value):
            value = value[0]
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, value, "a whole number")
        largest = LARGEST.get(name, LARGEST_SIZE)
        if not least <= value <= largest:
            raise self.wrong(name, value, f"between {least} and {largest:,}")
        return value

    def switch(self, switch: Switch) -> bool:
        """A family's switch: fixed, or read from the field it names."""
        if isinstance(switch, bool):
            return switch
        name, _, default = switch.partition("=")
        value = self.get(name, default == "True")
        if not isinstance(value, bool):
            raise self.wrong(name, value, "true or false")
        return value

    def flags(self, name: str, layers: int) -> list[Any] | None:
        """A per-layer list, or None when the config has none. Raises ScenarioError when it has another length."""
        value = self.get(name)
        if not isinstance(value, list):
            return None
        if len(value) < layers:
            raise self.wrong(name, f"a list of {len(value)}", f"a list of {layers} layers")
        return value[:layers]

    def indices(self, name: str) -> list[int]:
        """A list of layer numbers, empty when the config has none."""
        value = self.get(name, [])
        if not isinstance(value, list) or any(isinstance(v, bool) or not isinstance(v, int) for v in value):
            raise self.wrong(name, value, "a list of layer numbers")
        return value

    def tied(self) -> bool:
        """Whether the output head is the embedding table. Absent: the model type's default."""
        value = self.outer_get("tie_word_embeddings")
        if value is None:
            value = self.family.tied
            self._assume("tie_word_embeddings", value)
        if not isinstance(value, bool):
            raise self.wrong("tie_word_embeddings", value, "true or false")
        return value

    def dtype(self) -> str:
        """The 16- or 32-bit type of the weights that are not quantised, as PyTorch names it."""
        value = self.outer_get("torch_dtype")
        if not isinstance(value, str) or value == "auto":
            self.assumed["torch_dtype"] = "bfloat16: the config does not say"
            return "bfloat16"
        if "torch_dtype" in self.changes and value.removeprefix("torch.") not in _DTYPES:
            raise self.wrong("torch_dtype", value, f"one of {', '.join(_DTYPES)}")
        return value.removeprefix("torch.")

    def native_quant(self) -> str | None:
        """The catalog's id of how the published weights are quantised; None when they are not, or in a way it lacks."""
        raw = self.outer_get("quantization_config") or self.outer_get("quantization")
        if not isinstance(raw, Mapping):
            return None
        if self.outer_get("expert_dtype") == "fp4":
            self.assumed["quantization_config"] = "MXFP4 experts beside BF16; published beside FP8"
            return "MXFP4"
        found = published_quant(raw)
        if found is None:
            self.assumed["quantization_config"] = "unquantised weights: the published format is not in the catalog"
        return found


def _nearest(raw: Mapping[str, Any]) -> str:
    """The family that a config of an unknown type most looks like, by its fields alone."""

    def says(name: str) -> bool:
        return any(raw.get(key) for key in (name, *ALIASES.get(name, ())))

    if says("kv_lora_rank") and says("qk_rope_head_dim"):
        return "deepseek_v3" if says("num_experts") else "minicpm3"
    if not says("num_experts"):
        return "llama"
    if says("n_shared_experts") or says("first_k_dense_replace"):
        return "glm4_moe"
    return "qwen3_moe" if says("moe_intermediate_size") else "mixtral"


def published_quant(raw: Mapping[str, Any]) -> str | None:
    """Id in data/catalog/quants of a `quantization_config`, or None where the catalog has no such scheme."""
    method, algorithm = (str(raw.get(key) or "").lower() for key in ("quant_method", "quant_algo"))
    kept = raw.get("ignore") or raw.get("modules_to_not_convert")
    skipped = " ".join(map(str, kept)) if isinstance(kept, list) else ""
    only_experts = "self_attn" in skipped
    if algorithm == "mixed_precision":
        return _mixed(raw)
    if algorithm == "nvfp4":
        return "NVFP4-EXPERTS" if only_experts else "NVFP4"
    if method == "mxfp4":
        return "MXFP4"
    if (method == "fp8" and not algorithm) or algorithm == "fp8":
        if raw.get("weight_block_size"):
            return "FP8-BLOCK"
        return "FP8-DYNAMIC" if raw.get("activation_scheme") == "dynamic" else "FP8"
    if method == "compressed-tensors":
        return _compressed(raw, only_experts)
    bits = raw.get("bits") or raw.get("w_bit")
    if not method and not algorithm and bits in (2, 3, 4, 5, 6, 8):  # as MLX writes it
        group = raw.get("group_size", 64)
        return f"MLX-{bits}bit" if group == 64 else "MLX-4bit-G32" if (bits, group) == (4, 32) else None
    if method in ("exl2", "exl3") and isinstance(bits, int | float) and 1 <= bits <= 16:
        return f"{method.upper()}-{float(bits)}bpw"
    if method == "auto-round" and (bits, raw.get("group_size", 128)) == (4, 128):
        return "AUTOROUND-INT4"
    if method in ("awq", "gptq") and bits == 4:
        group = raw.get("group_size") or raw.get("q_group_size") or 128
        known = {128: "", 64: "-G64", 32: "-G32"}
        return f"{method.upper()}-INT4{known[group]}" if group in known else None
    if method == "gptq" and bits == 8:
        return "GPTQ-INT8"
    if method == "bitsandbytes":
        if raw.get("load_in_4bit"):
            return "BNB-INT4-DQ" if raw.get("bnb_4bit_use_double_quant") else "BNB-INT4"
        return "BNB-INT8"
    return None


def _mixed(raw: Mapping[str, Any]) -> str | None:
    """Id of a config in which each layer names its own algorithm, as ModelOpt writes mixtures of 4 and 8 bits."""
    listed = raw.get("quantized_layers")
    if not isinstance(listed, Mapping):
        return None
    four = {name: str(how.get("quant_algo")) for name, how in listed.items() if isinstance(how, Mapping) and "NVFP4" in str(how)}
    if not four:
        return None
    if any(how.startswith("W4A16") for how in four.values()):
        return "NVFP4-W4A16-FP8"
    return "NVFP4-EXPERTS-FP8" if all("experts" in name for name in four) else None


def _compressed(raw: Mapping[str, Any], only_experts: bool) -> str | None:
    """Id of a compressed-tensors config, by its first group of weights."""
    if raw.get("format") == "mxfp4-pack-quantized":
        return "MXFP4" if only_experts else "MXFP4-ALL"
    groups = raw.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else ():
        weights, inputs = (group.get(part) or {} for part in ("weights", "input_activations")) if isinstance(group, Mapping) else ({}, {})
        if not (isinstance(weights, Mapping) and isinstance(inputs, Mapping)):
            continue
        bits, kind = weights.get("num_bits"), weights.get("type")
        if bits == 8 and kind == "float":
            if weights.get("strategy") == "block":
                return "FP8-BLOCK"
            return "FP8-DYNAMIC" if inputs.get("dynamic") else "FP8"
        if bits == 8:
            return "INT8" if inputs else "INT8-WO"
        if bits == 4 and kind == "float":
            return "NVFP4-EXPERTS" if only_experts else "NVFP4"
        if bits == 4:
            return "INT4-EXPERTS" if only_experts else "W4A16"
    return None
