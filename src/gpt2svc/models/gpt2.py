"""GPT-2's forward pass over a slot KV cache, for rows of many sequences at once."""

from collections.abc import Callable, Sequence
from typing import Final, Self

import torch
from torch import Tensor
from torch.nn import functional

from gpt2svc.models.chunk import Chunk
from gpt2svc.models.config import GPT2Config
from gpt2svc.models.decode_attention import DecodeAttention
from gpt2svc.models.embedding import Embedding
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.head_scorer import HeadScorer
from gpt2svc.models.kv_store import KeyValueStore
from gpt2svc.models.layer import Attending, Layer, LayerNorm
from gpt2svc.models.linear import Linear
from gpt2svc.models.quantization import Quantization
from gpt2svc.models.row_batch import RowBatch
from gpt2svc.models.scratch import Scratch
from gpt2svc.models.weight_format import WeightFormat
from gpt2svc.models.weights import ProgressCallback, WeightReader

# Narrower models take their attention in float32: at such sizes the kernels for half precision change with the batch.
_MIN_HALF_WIDTH: Final = 128


class GPT2:
    """A GPT-2 language model on one device, in one dtype; for inference only.

    Holds nothing of a sequence: keys and values live in the KeyValueStore that each call names. On a CPU with oneDNN
    a row's result has the same bits whatever else is in the call and however its prompt was cut into chunks.

    A model that was trained to classify has no logits: forward passes are for its hidden states, which `head` reads.
    """

    layer_type: type[Layer] = Layer

    def __init__(self, config: GPT2Config, weights: WeightReader, weight_format: WeightFormat) -> None:
        self.config = config
        self.n_positions = config.n_positions
        self.vocab_size = config.vocab_size
        self.is_language_model = config.is_language_model
        self.device = weight_format.device
        self.dtype = weight_format.row_dtype
        upcast = config.reorder_and_upcast_attn or config.n_embd < _MIN_HALF_WIDTH
        self.attention_dtype = torch.float32 if upcast else weight_format.dtype

        def read(name: str) -> Tensor:
            return weight_format.vector(weights.read(name))

        self._position_embedding = read("wpe.weight")
        self._layers = [self.layer_type(config, i, weights, weight_format) for i in range(config.n_layer)]
        self._norm = self._final_norm(read)
        self._token_embedding: Embedding
        self._lm_head: Linear | None = None
        if config.is_language_model and config.tie_word_embeddings:
            self._token_embedding, self._lm_head, num_table_bytes = weight_format.tied(weights.read("wte.weight"))
        else:
            self._token_embedding = weight_format.embedding(weights.read("wte.weight"))
            num_table_bytes = self._token_embedding.num_bytes
            if config.is_language_model:
                self._lm_head = weight_format.output_linear(weights.read("lm_head.weight"))
                num_table_bytes += self._lm_head.num_bytes
        self.head = None if config.head is None else HeadScorer(config.head, weights)
        self._scratch = Scratch(self.device)
        self._kept: dict[int, DecodeAttention] = {}
        self.num_bytes = num_table_bytes + self._position_embedding.nbytes
        self.num_bytes += sum(layer.num_bytes for layer in self._layers)
        if self._norm is not None:
            self.num_bytes += self._norm.num_bytes

    @classmethod
    def from_folder(
        cls,
        folder: ModelFolder,
        device: torch.device,
        dtype: torch.dtype,
        progress: ProgressCallback | None = None,
        *,
        quantize: Quantization = "none",
    ) -> Self:
        """Load the weights of `folder`, in `dtype` or in fewer bits (models/weight_format.py).

        Raises ModelFormatError where its files have changed since it was opened, or hold numbers that can't be
        quantised.
        """
        with torch.inference_mode():
            return cls(folder.config, WeightReader(folder, progress), WeightFormat(device, dtype, quantize))

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
        x = self.run_layers(batch.token_ids, batch.positions, batch)
        hidden = self.normed(batch.pooled_rows(x))
        if self._lm_head is None or batch.num_sampled == 0:
            return x.new_empty((0, self.vocab_size)), hidden
        return self.logits(batch.sampled_rows(x))[: batch.num_sampled], hidden

    def run_layers(self, token_ids: Tensor, positions: Tensor, batch: Attending) -> Tensor:
        """Rows of `batch` (rows,) through all layers, to hidden states (rows, n_embd) before the final norm."""
        x = self._token_embedding(token_ids)
        x = x + functional.embedding(positions, self._position_embedding)
        for i, layer in enumerate(self._layers):
            x = layer.forward(i, x, batch)
        return x

    def logits(self, x: Tensor) -> Tensor:
        """What `run_layers` brought (rows, n_embd), to logits (rows, vocab_size)."""
        if self._lm_head is None:
            raise ValueError("This model has no logits: it was trained to classify.")
        return self._lm_head(self.normed(x))

    def normed(self, x: Tensor) -> Tensor:
        """The final norm of rows (rows, n_embd), where the model has one."""
        return x if self._norm is None else self._norm(x)

    def _final_norm(self, read: Callable[[str], Tensor]) -> LayerNorm | None:
        return LayerNorm(read("ln_f.weight"), read("ln_f.bias"), self.config.layer_norm_epsilon)
