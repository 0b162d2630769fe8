"""GPT2Config: the shape and arithmetic of a GPT-2 or GPT-1 model, read from config.json with every value checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

from gpt2svc.errors import ModelFormatError, UnsafeModelError
from gpt2svc.models.json_file import read_json_object
from gpt2svc.models.task_head import ClassificationHead, TaskHead, read_task_head

CONFIG_NAME: Final = "config.json"
MAX_CONFIG_BYTES: Final = 1 << 20

ACTIVATIONS: Final = ("gelu_new", "gelu", "relu", "silu", "tanh")
DTYPES: Final = ("float32", "bfloat16", "float16")

Architecture = Literal["gpt2", "openai-gpt"]  # config.json's model_type

# Other names of the same arithmetic.
_ACTIVATION_ALIASES: Final = {"swish": "silu", "gelu_pytorch_tanh": "gelu_new", "gelu_fast": "gelu_new"}
# GPT-1's names: its "gelu" has always been the approximation.
_GPT1_ACTIVATIONS: Final = {"gelu": "gelu_new", "relu": "relu", "silu": "silu", "swish": "silu"}

# Upper bounds far beyond any GPT-2 (xl: 50257, 1024, 1600, 48, 25), so that a forged number is refused before
# anything is multiplied or allocated.
_MAX_VOCAB_SIZE: Final = 1 << 21
_MAX_POSITIONS: Final = 1 << 17
_MAX_WIDTH: Final = 1 << 15
_MAX_INNER: Final = 1 << 17
_MAX_LAYERS: Final = 1024
_MAX_HEADS: Final = 1024


@dataclass(frozen=True, slots=True)
class GPT2Config:
    """Names are GPT-2's in config.json; defaults are those of GPT-2 small.

    `n_embd` is divisible by `n_head`, `activation_function` is one of ACTIVATIONS, and `n_inner` is already resolved
    to a number. `bos_token_id` and `eos_token_id` are None where the vocabulary has no such id. `dtype` is how the
    checkpoint was saved (one of DTYPES), or None where config.json doesn't say. `head` is that of a task, if any.
    """

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int = 3072
    activation_function: str = "gelu_new"
    layer_norm_epsilon: float = 1e-5
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    reorder_and_upcast_attn: bool = False
    tie_word_embeddings: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    dtype: str | None = None
    architecture: Architecture = "gpt2"
    head: TaskHead | None = None

    @property
    def is_language_model(self) -> bool:
        """Whether it predicts tokens; one that was trained to classify has no use for its rows of the vocabulary."""
        return not isinstance(self.head, ClassificationHead)

    @property
    def head_dim(self) -> int:
        return self.n_embd // self.n_head

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """The configuration in a config.json. Raises as `from_json` does."""
        return cls.from_json(read_json_object(path, max_bytes=MAX_CONFIG_BYTES), source=path.name)

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any], *, source: str = CONFIG_NAME) -> Self:
        """The configuration in config.json's object; keys that a forward pass doesn't need are ignored.

        Raises ModelFormatError that names the file, the key and the limit, and UnsafeModelError where the
        configuration asks for code of its own.
        """
        _refuse_what_is_not_supported(mapping, source)
        architecture = _architecture(mapping, source)
        is_gpt1 = architecture == "openai-gpt"
        keys = _Keys(mapping, source)
        vocab_size = keys.integer("vocab_size", default=40478 if is_gpt1 else 50257, maximum=_MAX_VOCAB_SIZE)
        n_embd = keys.integer("n_embd", "hidden_size", default=768, maximum=_MAX_WIDTH)
        n_head = keys.integer("n_head", "num_attention_heads", default=12, maximum=_MAX_HEADS)
        if n_embd % n_head != 0:
            raise keys.error("n_head", f"must divide n_embd, and {n_embd} is not a multiple of {n_head}")
        return cls(
            vocab_size=vocab_size,
            n_positions=keys.integer(
                "n_positions",
                "max_position_embeddings",
                "n_ctx",
                default=512 if is_gpt1 else 1024,
                minimum=2,
                maximum=_MAX_POSITIONS,
            ),
            n_embd=n_embd,
            n_layer=keys.integer("n_layer", "num_hidden_layers", default=12, maximum=_MAX_LAYERS),
            n_head=n_head,
            n_inner=4 * n_embd if is_gpt1 else keys.integer("n_inner", default=4 * n_embd, maximum=_MAX_INNER),
            activation_function=keys.gpt1_activation() if is_gpt1 else keys.activation(),
            layer_norm_epsilon=keys.positive("layer_norm_epsilon", default=1e-5, maximum=1.0),
            scale_attn_weights=keys.boolean("scale_attn_weights", default=True),
            scale_attn_by_inverse_layer_idx=keys.boolean("scale_attn_by_inverse_layer_idx", default=False),
            reorder_and_upcast_attn=keys.boolean("reorder_and_upcast_attn", default=False),
            tie_word_embeddings=keys.boolean("tie_word_embeddings", default=True),
            bos_token_id=keys.token_id("bos_token_id", vocab_size),
            eos_token_id=keys.token_id("eos_token_id", vocab_size),
            dtype=keys.dtype(),
            architecture=architecture,
            head=read_task_head(mapping, pad_token_id=keys.token_id("pad_token_id", vocab_size), source=source),
        )


def _refuse_what_is_not_supported(mapping: Mapping[str, Any], source: str) -> None:
    for key in ("auto_map", "custom_pipelines", "trust_remote_code"):
        if mapping.get(key):
            raise UnsafeModelError(
                f"{source} asks for code of the model's own ({key}), which is never run. "
                "Save the model as a plain GPT-2 (GPT2LMHeadModel.save_pretrained) in a trusted environment.",
                field=key,
            )
    if mapping.get("add_cross_attention"):
        raise ModelFormatError(
            f"{source}: add_cross_attention is true; only decoder-only GPT-2 models are supported.",
            field="add_cross_attention",
        )
    if mapping.get("quantization_config"):
        raise ModelFormatError(
            f"{source} has a quantization_config; only float32, bfloat16 and float16 weights are supported. "
            "Save the model without quantisation.",
            field="quantization_config",
        )


def _architecture(mapping: Mapping[str, Any], source: str) -> Architecture:
    match mapping.get("model_type"):
        case "gpt2":
            return "gpt2"
        case "openai-gpt":
            return "openai-gpt"
        case None:
            architectures = mapping.get("architectures")
            for name in architectures if isinstance(architectures, list) else ():
                if isinstance(name, str) and name.startswith(("GPT2", "OpenAIGPT")):
                    return "gpt2" if name.startswith("GPT2") else "openai-gpt"  # early checkpoints name only the class
            found = "no model_type"
        case other:
            found = f"model_type {str(other)[:80]!r}"
    raise ModelFormatError(f"{source} has {found}; supported are 'gpt2' and 'openai-gpt'.", field="model_type")


class _Keys:
    """Typed access to config.json's keys; null and absent both mean the default."""

    def __init__(self, mapping: Mapping[str, Any], source: str) -> None:
        self._mapping = mapping
        self._source = source

    def error(self, key: str, problem: str) -> ModelFormatError:
        return ModelFormatError(f"{self._source}: {key} {problem}.", field=key)

    def integer(self, key: str, *aliases: str, default: int, maximum: int, minimum: int = 1) -> int:
        """Of `key` or else the first alias that is there."""
        name = next((name for name in (key, *aliases) if self._mapping.get(name) is not None), key)
        value = self._mapping.get(name)
        if value is None:
            value = default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(name, f"must be a whole number, not {str(value)[:40]!r}")
        if not minimum <= value <= maximum:
            shown = str(value) if abs(value) < 10**18 else "a far larger number"
            raise self.error(name, f"must be {minimum} to {maximum}, not {shown}")
        return value

    def positive(self, key: str, *, default: float, maximum: float) -> float:
        value = self._mapping.get(key)
        if value is None:
            value = default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, f"must be a number, not {str(value)[:40]!r}")
        if not 0 < value <= maximum:  # NaN fails it too
            raise self.error(key, f"must be above 0 and at most {maximum}")
        return float(value)

    def boolean(self, key: str, *, default: bool) -> bool:
        value = self._mapping.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, not {str(value)[:40]!r}")
        return value

    def activation(self) -> str:
        value = self._mapping.get("activation_function", "gelu_new")
        name = _ACTIVATION_ALIASES.get(value, value) if isinstance(value, str) else None
        if name not in ACTIVATIONS:
            supported = ", ".join((*ACTIVATIONS, *_ACTIVATION_ALIASES))
            raise self.error("activation_function", f"is {str(value)[:40]!r}; supported are {supported}")
        return name

    def gpt1_activation(self) -> str:
        value = self._mapping.get("afn", "gelu")
        name = _GPT1_ACTIVATIONS.get(value) if isinstance(value, str) else None
        if name is None:
            raise self.error("afn", f"is {str(value)[:40]!r}; supported are {', '.join(_GPT1_ACTIVATIONS)}")
        return name

    def token_id(self, key: str, vocab_size: int) -> int | None:
        value = self._mapping.get(key)
        if isinstance(value, list) and value:
            value = value[0]
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, f"must be a whole number, not {str(value)[:40]!r}")
        # NOTE: a small custom model often keeps GPT-2's default of 50256, which its vocabulary can't produce.
        return value if 0 <= value < vocab_size else None

    def dtype(self) -> str | None:
        value = self._mapping.get("dtype", self._mapping.get("torch_dtype"))
        if value is None:
            return None
        name = value.removeprefix("torch.") if isinstance(value, str) else None
        if name not in DTYPES:
            raise self.error("dtype", f"is {str(value)[:40]!r}; supported are {', '.join(DTYPES)}")
        return name
