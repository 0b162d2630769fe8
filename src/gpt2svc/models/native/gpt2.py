"""NativeGPT2: GPT-1 and GPT-2 on a CPU by kernels of our own, a whole forward pass in one call."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from gpt2svc.models.chunk import Chunk
from gpt2svc.models.config import GPT2Config
from gpt2svc.models.head_scorer import HeadScorer
from gpt2svc.models.layer import score_scale
from gpt2svc.models.native.library import NativeLibrary
from gpt2svc.models.native.packing import PackedWeights
from gpt2svc.models.native.slot_cache import SlotCache
from gpt2svc.models.native.step_rows import StepRows
from gpt2svc.models.native.structures import Activation, Kind, LayerStruct, ModelStruct, NormStruct
from gpt2svc.models.weights import WeightReader

_ACTIVATIONS: Final = {
    "gelu_new": Activation.GELU_NEW,
    "relu": Activation.RELU,
    "silu": Activation.SILU,
    "tanh": Activation.TANH,
}


def can_run_natively(config: GPT2Config) -> bool:
    """Whether the kernels have what the model asks for: whole vectors a head, and a known activation."""
    return config.head_dim % 16 == 0 and config.n_inner % 16 == 0 and config.activation_function in _ACTIVATIONS


class NativeGPT2:
    """As GPT2 (models/gpt2.py), for the CPU: sums in float32 over weights in float32, bfloat16, int8 or
    int4 (whose embedding and output layer are int8).

    Every number is computed in an order of its own, whatever else is in the call: a row's bits never depend on the
    batch or on the cut of its prompt into chunks. With int8 and int4 each row of activations has its own scale.
    """

    device = torch.device("cpu")

    def __init__(
        self,
        config: GPT2Config,
        weights: WeightReader,
        library: NativeLibrary,
        *,
        kind: Kind,
        cache_dtype: torch.dtype,
        num_threads: int,
    ) -> None:
        """`cache_dtype`: of keys and values, float32 or bfloat16. Raises ModelFormatError as WeightReader does, and
        for numbers that can't be quantised."""
        self.config = config
        self.n_positions = config.n_positions
        self.vocab_size = config.vocab_size
        self.is_language_model = config.is_language_model
        self.dtype = torch.float32  # of logits and hidden states
        self._cache_dtype = cache_dtype
        self._runtime = library.new_runtime(num_threads)
        self._kept: list[Tensor | PackedWeights] = []  # what the structures point to

        is_post_norm = config.architecture == "openai-gpt"
        table_kind = Kind.INT8 if kind == Kind.INT4 else kind
        embedding = lm_head = self._packed(weights.read("wte.weight"), None, table_kind)
        if config.is_language_model and not config.tie_word_embeddings:
            lm_head = self._packed(weights.read("lm_head.weight"), None, table_kind)
        layers = (LayerStruct * config.n_layer)(*[self._layer(i, weights, kind) for i in range(config.n_layer)])
        self._layers = layers
        self._model = ModelStruct(
            embedding=embedding.struct,
            lm_head=lm_head.struct,
            positions=self._floats(weights.read("wpe.weight")),
            layers=layers,
            norm=NormStruct() if is_post_norm else self._norm("ln_f", weights),
            epsilon=config.layer_norm_epsilon,
            num_layers=config.n_layer,
            num_heads=config.n_head,
            head_dim=config.head_dim,
            num_inner=config.n_inner,
            num_positions=config.n_positions,
            kind=kind,
            activation=_ACTIVATIONS[config.activation_function],
            is_post_norm=is_post_norm,
        )
        self.head = None if config.head is None else HeadScorer(config.head, weights)
        self.num_bytes = sum(part.nbytes if isinstance(part, Tensor) else part.num_bytes for part in self._kept)

    def new_cache(self, num_slots: int) -> SlotCache:
        """An empty KV cache of `num_slots` sequences. Raises ConfigError where the memory isn't there."""
        return SlotCache(self.config, num_slots, self._cache_dtype)

    def forward(self, chunks: Sequence[Chunk], cache: SlotCache) -> Tensor:
        """Compute the chunks' rows, writing their keys and values, to logits (num_sampled, vocab_size) float32.

        At most one chunk a slot. The logits are those after each chunk's last `num_logits` rows, in order. Raises
        EngineError, and writes nothing to the cache, where a token, slot or position is out of range.
        """
        return self.forward_with_hidden(chunks, cache)[0]

    def forward_with_hidden(self, chunks: Sequence[Chunk], cache: SlotCache) -> tuple[Tensor, Tensor]:
        """As `forward`, and the last hidden states, after the final norm, of each chunk's last `num_pooled` rows.

        (num_sampled, vocab_size) and (num_pooled, n_embd), both float32.
        """
        rows = StepRows(chunks, has_logits=self.is_language_model)
        logits = torch.empty((rows.num_logits, self.vocab_size))
        hidden = torch.empty((rows.num_hidden, self.config.n_embd))
        self._runtime.forward(self._model, cache.struct, rows.struct(logits, hidden))
        return logits, hidden

    def _layer(self, index: int, weights: WeightReader, kind: Kind) -> LayerStruct:
        def linear(name: str, query_scale: float = 1.0) -> PackedWeights:
            weight = weights.read(f"h.{index}.{name}.weight").float().t()  # stored (in, out)
            bias = weights.read(f"h.{index}.{name}.bias").float()
            if query_scale != 1.0:
                weight, bias = weight.clone(), bias.clone()
                weight[: self.config.n_embd] *= query_scale
                bias[: self.config.n_embd] *= query_scale
            return self._packed(weight, bias, kind)

        return LayerStruct(
            # The scores' scale is folded into the weights that make the queries.
            linear("attn.c_attn", score_scale(self.config, index)).struct,
            linear("attn.c_proj").struct,
            linear("mlp.c_fc").struct,
            linear("mlp.c_proj").struct,
            self._norm(f"h.{index}.ln_1", weights),
            self._norm(f"h.{index}.ln_2", weights),
        )

    def _packed(self, weight: Tensor, bias: Tensor | None, kind: Kind) -> PackedWeights:
        packed = PackedWeights(weight, bias, kind)
        self._kept.append(packed)
        return packed

    def _norm(self, name: str, weights: WeightReader) -> NormStruct:
        weight, bias = weights.read(f"{name}.weight"), weights.read(f"{name}.bias")
        return NormStruct(self._floats(weight), self._floats(bias))

    def _floats(self, values: Tensor) -> int:
        """The address of a float32 copy that stays."""
        kept = values.float().contiguous()
        self._kept.append(kept)
        return kept.data_ptr()
