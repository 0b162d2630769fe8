"""GPT-1: GPT-2's parts in another order. Each block takes its norms after the sums, so that none is left to the end."""

from collections.abc import Callable

from torch import Tensor

from gpt2svc.models.gpt2 import GPT2
from gpt2svc.models.layer import Attending, Layer


class PostNormLayer(Layer):
    def forward(self, index: int, x: Tensor, batch: Attending) -> Tensor:
        attended = batch.attend(index, self.qkv(x))
        x = self.norm_1(self.attention_out.added_to(x, attended))
        return self.norm_2(self.contract.added_to(x, self.expand(x)))


class GPT1(GPT2):
    """A GPT-1 model, `openai-gpt`, with all that GPT2 has: KV cache, batches, the same bits in any company."""

    layer_type = PostNormLayer

    def _final_norm(self, read: Callable[[str], Tensor]) -> None:
        return None
