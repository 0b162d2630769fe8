"""NativeGPT2: GPT-1 and GPT-2 on a CPU by kernels of our own, a whole forward pass in one call."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt2svc.models.chunk import Chunk
from gpt2svc.models.config import GPT2Config
from gpt2svc.models.head_scorer import HeadScorer
from gpt2svc.models.layer import score_scale
from gpt2svc.models.native.library import NativeLibrary
from gpt2svc.models.native.packing import PackedWeights
from gpt2svc.models.native.slot_cache import SlotCache
from gpt2svc.models.native.structures import Activation, BatchStruct, Kind, LayerStruct, ModelStruct, NormStruct
from gpt2svc.models.weights import WeightReader

_MAX_QUERIES: Final = 4
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
    """As GPT2 (models/gpt2.py), for the CPU: sums in float32 over weights in float32, bfloat16 or int8.

    Every number is computed in an order of its own, whatever else is in the call: a row's bits never depend on the
    batch or on the cut of its prompt into chunks. With int8 each row of activations has its own scale.
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
        embedding = lm_head = self._packed(weights.read("wte.weight"), None, kind)
        if config.is_language_model and not config.tie_word_embeddings:
            lm_head = self._packed(weights.read("lm_head.weight"), None, kind)
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

        At most one chunk a slot. The logits are those after each chunk's last `num_logits` rows, in order.
        """
        return self.forward_with_hidden(chunks, cache)[0]

    def forward_with_hidden(self, chunks: Sequence[Chunk], cache: SlotCache) -> tuple[Tensor, Tensor]:
        """As `forward`, and the last hidden states, after the final norm, of each chunk's last `num_pooled` rows.

        (num_sampled, vocab_size) and (num_pooled, n_embd), both float32.
        """
        token_ids: list[int] = []
        slots: list[int] = []
        places: list[int] = []
        queries: list[tuple[int, int, int, int]] = []
        logit_rows: list[int] = []
        hidden_rows: list[int] = []
        for chunk in chunks:
            first, count = len(token_ids), len(chunk.token_ids)
            token_ids.extend(chunk.token_ids)
            slots.extend([chunk.slot] * count)
            places.extend(range(chunk.start, chunk.start + count))
            for i in range(0, count, _MAX_QUERIES):
                queries.append((chunk.slot, chunk.start + i, first + i, min(_MAX_QUERIES, count - i)))
            end = first + count
            logit_rows.extend(range(end - chunk.num_logits, end))
            hidden_rows.extend(range(end - chunk.num_pooled, end))
        if not self.is_language_model:
            logit_rows = []
        logits = torch.empty((len(logit_rows), self.vocab_size))
        hidden = torch.empty((len(hidden_rows), self.config.n_embd))
        arrays = [_int32(values) for values in (token_ids, slots, places, queries, logit_rows, hidden_rows)]
        batch = BatchStruct(
            len(token_ids),
            len(queries),
            len(logit_rows),
            len(hidden_rows),
            *(array.ctypes.data for array in arrays),
            logits.data_ptr(),
            hidden.data_ptr(),
        )
        self._runtime.forward(self._model, cache.struct, batch)
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


def _int32(values: Sequence[object]) -> NDArray[np.int32]:
    return np.array(values, dtype=np.int32)
