"""GraphedGPT2: a GPT-2 as it runs on a CUDA GPU."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from gpt2svc.models.chunk import Chunk
from gpt2svc.models.gpt2 import GPT2
from gpt2svc.models.graph_runner import GraphRecorder, GraphRunner
from gpt2svc.models.mixed_batch import MixedBatch
from gpt2svc.models.static_decode import StaticDecode
from gpt2svc.models.window_store import WindowStore

# Not cuDNN's, which prepares a plan for each new shape: prompts have any length.
_ATTENTION: Final = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


class GraphedGPT2:
    """The layers of a GPT2 or GPT1 in other company: steps that only decode in fixed shapes, which `recorder` captures
    and replays, and fused attention for prompts. On any device; without a recorder each step is launched call by call.

    A step brings its numbers to the device in one copy and waits for nothing. A row's value does not depend on what is
    in the rows beside it, but which kernels make it, and so its last bits, may depend on how many there are.
    """

    def __init__(self, model: GPT2, recorder: GraphRecorder | None) -> None:
        self._model = model
        self._runner = GraphRunner(recorder)
        self._decode: StaticDecode | None = None
        self.config = model.config
        self.n_positions = model.n_positions
        self.vocab_size = model.vocab_size
        self.is_language_model = model.is_language_model
        self.device = model.device
        self.dtype = model.dtype
        self.head = model.head
        self.num_bytes = model.num_bytes

    def new_cache(self, num_slots: int) -> WindowStore:
        """An empty KV cache of `num_slots` sequences. Raises ConfigError where the memory isn't there."""
        self._forget_decode()  # whatever it holds of a cache before
        return WindowStore(self.config, num_slots, self.device, self._model.attention_dtype)

    @torch.inference_mode()
    def forward(self, chunks: Sequence[Chunk], cache: WindowStore) -> Tensor:
        """As GPT2.forward."""
        if self.is_language_model and all(len(chunk.token_ids) == 1 for chunk in chunks):
            with sdpa_kernel(_ATTENTION):
                return self._decode_for(cache).logits(chunks)
        return self.forward_with_hidden(chunks, cache)[0]

    @torch.inference_mode()
    def forward_with_hidden(self, chunks: Sequence[Chunk], cache: WindowStore) -> tuple[Tensor, Tensor]:
        """As GPT2.forward_with_hidden."""
        batch = MixedBatch(chunks, cache)
        with sdpa_kernel(_ATTENTION):
            x = self._model.run_layers(batch.token_ids, batch.positions, batch)
        hidden = self._model.normed(x[batch.pooled])
        if not self.is_language_model or len(batch.sampled) == 0:
            return x.new_empty((0, self.vocab_size)), hidden
        return self._model.logits(x[batch.sampled]), hidden

    def _decode_for(self, cache: WindowStore) -> StaticDecode:
        if self._decode is None or self._decode.store is not cache:
            self._forget_decode()
            self._decode = StaticDecode(self._model, cache, self._runner)
        return self._decode

    def _forget_decode(self) -> None:
        if self._decode is not None:
            self._decode = None
            self._runner.clear()
