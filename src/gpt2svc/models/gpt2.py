"""GPT-2's forward pass over a slot KV cache, for rows of many sequences at once."""

from collections.abc import Sequence
from typing import Final, Self

import torch
from torch import Tensor
from torch.nn import functional

from gpt2svc.models.chunk import Chunk
from gpt2svc.models.config import GPT2Config
from gpt2svc.models.decode_attention import DecodeAttention
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.kv_store import KeyValueStore
from gpt2svc.models.linear import Linear, PackedLinear, new_linear
from gpt2svc.models.row_batch import RowBatch
from gpt2svc.models.scratch import Scratch
from gpt2svc.models.weights import ProgressCallback, WeightReader

# Narrower models take their attention in float32: at such sizes the kernels for half precision change with the batch.
_MIN_HALF_WIDTH: Final = 128


class GPT2:
    """A GPT-2 language model on one device, in one dtype; for inference only.

    Holds nothing of a sequence: keys and values live in the KeyValueStore that each call names. On a CPU with oneDNN
    a row's result has the same bits whatever else is in the call and however its prompt was cut into chunks.
    """

    def __init__(self, config: GPT2Config, weights: WeightReader, device: torch.device, dtype: torch.dtype) -> None:
        self.config = config
        self.n_positions = config.n_positions
        self.vocab_size = config.vocab_size
        self.device = device
        self.dtype = dtype
        upcast = config.reorder_and_upcast_attn or config.n_embd < _MIN_HALF_WIDTH
        self.attention_dtype = torch.float32 if upcast else dtype

        def read(name: str) -> Tensor:
            return weights.read(name).to(device=device, dtype=dtype)

        self._token_embedding = read("wte.weight")
        self._position_embedding = read("wpe.weight")
        self._layers = [_Layer(config, i, weights, device, dtype) for i in range(config.n_layer)]
        self._norm = _LayerNorm(read("ln_f.weight"), read("ln_f.bias"), config.layer_norm_epsilon)
        head = self._token_embedding if config.tie_word_embeddings else read("lm_head.weight")
        self._head = new_linear(head, None)
        self._scratch = Scratch(device)
        self._kept: DecodeAttention | None = None
        self.num_bytes = self._token_embedding.nbytes + self._position_embedding.nbytes + self._norm.num_bytes
        self.num_bytes += sum(layer.num_bytes for layer in self._layers)
        if not config.tie_word_embeddings or isinstance(self._head, PackedLinear):
            self.num_bytes += self._head.num_bytes

    @classmethod
    def from_folder(
        cls, folder: ModelFolder, device: torch.device, dtype: torch.dtype, progress: ProgressCallback | None = None
    ) -> Self:
        """Load the weights of `folder`; raises ModelFormatError where its files have changed since it was opened."""
        with torch.inference_mode():
            return cls(folder.config, WeightReader(folder, progress), device, dtype)

    def new_cache(self, num_slots: int) -> KeyValueStore:
        """An empty KV cache of `num_slots` sequences. Raises ConfigError where the memory isn't there."""
        return KeyValueStore(self.config, num_slots, self.device, self.attention_dtype)

    @torch.inference_mode()
    def forward(self, chunks: Sequence[Chunk], cache: KeyValueStore) -> Tensor:
        """Compute the chunks' rows, writing their keys and values, to logits (num_sampled, vocab_size) in self.dtype.

        At most one chunk a slot. The logits are those after each chunk's last `num_logits` rows, in order.
        """
        return self.forward_with_hidden(chunks, cache)[0]

    @torch.inference_mode()
    def forward_with_hidden(self, chunks: Sequence[Chunk], cache: KeyValueStore) -> tuple[Tensor, Tensor]:
        """As `forward`, and the last hidden states, after the final norm, of each chunk's last `num_pooled` rows.

        (num_sampled, vocab_size) and (num_pooled, n_embd), both in self.dtype.
        """
        batch = RowBatch(chunks, cache, self._scratch, self.dtype, self._kept)
        self._kept = batch.decode_attention
        x = functional.embedding(batch.token_ids, self._token_embedding)
        x = x + functional.embedding(batch.positions, self._position_embedding)
        for i, layer in enumerate(self._layers):
            x = layer.forward(i, x, batch)
        hidden = self._norm(batch.pooled_rows(x))
        if batch.num_sampled == 0:
            return x.new_empty((0, self.vocab_size)), hidden
        logits = self._head(self._norm(batch.sampled_rows(x)))
        return logits[: batch.num_sampled], hidden


class _LayerNorm:
    def __init__(self, weight: Tensor, bias: Tensor, epsilon: float) -> None:
        self._weight = weight
        self._bias = bias
        self._shape = list(weight.shape)
        self._epsilon = epsilon
        self.num_bytes = weight.nbytes + bias.nbytes

    def __call__(self, x: Tensor) -> Tensor:
        return torch.layer_norm(x, self._shape, self._weight, self._bias, self._epsilon)


class _Layer:
    def __init__(
        self, config: GPT2Config, index: int, weights: WeightReader, device: torch.device, dtype: torch.dtype
    ) -> None:
        def read(name: str) -> Tensor:
            return weights.read(f"h.{index}.{name}").to(device=device, dtype=torch.float32)

        def norm(name: str) -> _LayerNorm:
            weight, bias = read(f"{name}.weight").to(dtype), read(f"{name}.bias").to(dtype)
            return _LayerNorm(weight, bias, config.layer_norm_epsilon)

        def linear(name: str, *, activation: str | None = None, query_scale: float = 1.0) -> Linear:
            weight = read(f"{name}.weight").t()  # stored (in, out)
            bias = read(f"{name}.bias")
            if query_scale != 1.0:
                weight[: config.n_embd] *= query_scale
                bias[: config.n_embd] *= query_scale
            return new_linear(weight.to(dtype), bias.to(dtype), activation)

        self._norm_1 = norm("ln_1")
        # The scores' scale is folded into the weights that make the queries.
        self._qkv = linear("attn.c_attn", query_scale=_score_scale(config, index))
        self._attention_out = linear("attn.c_proj")
        self._norm_2 = norm("ln_2")
        self._expand = linear("mlp.c_fc", activation=config.activation_function)
        self._contract = linear("mlp.c_proj")
        self.num_bytes = sum(
            part.num_bytes
            for part in (self._norm_1, self._qkv, self._attention_out, self._norm_2, self._expand, self._contract)
        )

    def forward(self, index: int, x: Tensor, batch: RowBatch) -> Tensor:
        attended = batch.attend(index, self._qkv(self._norm_1(x)))
        x = self._attention_out.added_to(x, attended)
        return self._contract.added_to(x, self._expand(self._norm_2(x)))


def _score_scale(config: GPT2Config, index: int) -> float:
    scale = config.head_dim**-0.5 if config.scale_attn_weights else 1.0
    return scale / (index + 1) if config.scale_attn_by_inverse_layer_idx else scale
