"""Reading a `config.json`: alternative field names, class defaults, and refusals that name the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.errors import ScenarioError
from core.ir_families import FAMILIES, TEXT_TYPES, Family, Switch

# One meaning, the names it goes by; the first one is the name that errors use.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "hidden_size": ("n_embd", "d_model", "n_embed"),
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers"),
    "num_attention_heads": ("n_head", "n_heads"),
    "num_key_value_heads": ("num_kv_heads", "n_head_kv", "multi_query_group_num"),
    "head_dim": ("kv_channels", "attention_head_dim"),
    "intermediate_size": ("n_inner", "ffn_hidden_size", "ffn_dim"),
    "vocab_size": ("padded_vocab_size",),
    "max_position_embeddings": ("n_positions", "seq_length", "max_seq_len", "model_max_length"),
    "num_experts": ("num_local_experts", "n_routed_experts", "moe_num_experts"),
    "num_experts_per_tok": ("experts_per_token", "moe_topk", "moe_k"),
    "n_shared_experts": ("moe_num_shared_experts", "num_shared_expert", "num_shared_experts"),
    "first_k_dense_replace": ("moe_layer_start_index",),
    "torch_dtype": ("dtype",),
}

# Above these a config is a mistake or a joke, and a tensor list would not end.
LARGEST: Mapping[str, int] = {"num_hidden_layers": 2_000, "num_experts": 100_000, "num_nextn_predict_layers": 16}
LARGEST_SIZE = 2**31 - 1


class Fields:
    """A config with its family's defaults. What is taken without the config saying so is noted in `assumed`."""

    def __init__(self, config: Mapping[str, Any], model_id: str) -> None:
        if not isinstance(config, Mapping):
            raise ScenarioError(f"The config of '{model_id}' is not a table of fields; give the content of config.json.")
        self.id = model_id
        self.outer: Mapping[str, Any] = config
        nested = config.get("text_config") or config.get("llm_config") or config.get("language_config")
        self.raw: Mapping[str, Any] = nested if isinstance(nested, Mapping) else config
        self.assumed: dict[str, str] = {}
        self.model_type = self._model_type()
        self.family: Family = FAMILIES[self.model_type]

    def _model_type(self) -> str:
        named = [t for t in (self.raw.get("model_type"), self.outer.get("model_type")) if isinstance(t, str) and t]
        if not named:
            raise ScenarioError(
                f"The config of '{self.id}' has no 'model_type', so its layout is unknown; add it, or pick a catalog model."
            )
        for name in named:
            family = TEXT_TYPES.get(name, name)
            if family in FAMILIES:
                return family
        raise ScenarioError(
            f"The architecture '{named[0]}' of '{self.id}' is not supported; pick a model from the catalog or one of a "
            f"supported type ({', '.join(sorted(FAMILIES))})."
        )

    def get(self, name: str, default: Any = None) -> Any:
        """The field under any of its names; then the family's default; then `default`. An explicit null is kept out."""
        for key in (name, *ALIASES.get(name, ())):
            found = self.raw.get(key)
            if found is not None:
                return found
        if name in self.family.defaults and name not in self.raw:
            fallback = self.family.defaults[name]
            self.assumed[name] = f"{fallback}, the default of {self.model_type} models: the config does not say"
            return fallback
        return default

    def outer_get(self, name: str) -> Any:
        """The field in the text part, else beside it: multimodal configs keep some at the top."""
        for source in (self.raw, self.outer):
            for key in (name, *ALIASES.get(name, ())):
                if source.get(key) is not None:
                    return source[key]
        return None

    def wrong(self, name: str, value: Any, expected: str) -> ScenarioError:
        return ScenarioError(
            f"The config of '{self.id}' has {name} = {value!r}, which is not {expected}; correct it or pick a catalog model."
        )

    def size(self, name: str, default: int | None = None, *, least: int = 1) -> int:
        """A whole number of at least `least`. Raises ScenarioError when it is missing (without `default`) or not one."""
        value = self.get(name, default)
        if value is None:
            names = " or ".join(f"'{n}'" for n in (name, *ALIASES.get(name, ())))
            raise ScenarioError(
                f"The config of '{self.id}' ({self.model_type}) lacks {names}; add the field or pick a catalog model."
            )
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

    def tied(self) -> bool:
        """Whether the output head is the embedding table. Absent: the model type's default."""
        value = self.outer_get("tie_word_embeddings")
        if value is None:
            value = self.family.tied
            self.assumed["tie_word_embeddings"] = f"{value}, the default of {self.model_type} models: the config does not say"
        if not isinstance(value, bool):
            raise self.wrong("tie_word_embeddings", value, "true or false")
        return value

    def dtype(self) -> str:
        """The 16- or 32-bit type of the weights that are not quantised, as PyTorch names it."""
        value = self.outer_get("torch_dtype")
        if not isinstance(value, str) or value == "auto":
            self.assumed["torch_dtype"] = "bfloat16: the config does not say"
            return "bfloat16"
        return value.removeprefix("torch.")

    def native_quant(self) -> str | None:
        """The catalog's name for how the published weights are quantised; None when they are not."""
        raw = self.outer_get("quantization_config")
        return published_quant(raw) if isinstance(raw, Mapping) else None


def published_quant(raw: Mapping[str, Any]) -> str | None:
    """Quantisation id of a `quantization_config`: fp8, mxfp4, nvfp4, awq, gptq, int4, int8, else the method's own name."""
    method = str(raw.get("quant_method") or "").lower()
    algorithm = str(raw.get("quant_algo") or "").lower()
    if "nvfp4" in algorithm:
        return "nvfp4"
    if method == "fp8" or "fp8" in algorithm:
        return "fp8"
    if method == "compressed-tensors":
        for group in (raw.get("config_groups") or {}).values():
            weights = group.get("weights") or {}
            bits, kind = weights.get("num_bits"), weights.get("type")
            if bits == 8:
                return "fp8" if kind == "float" else "int8"
            if bits == 4:
                return "int4" if kind == "int" else "nvfp4"
    return method or algorithm or None
