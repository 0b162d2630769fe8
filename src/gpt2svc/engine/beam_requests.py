"""The beam searches in progress, as EngineCore drives them."""

import logging
from collections.abc import Mapping

import torch
from torch import Tensor

from gpt2svc.engine.beam_search import BeamSearch
from gpt2svc.engine.kv_cache import KVCache
from gpt2svc.engine.sequence import Sequence
from gpt2svc.engine.types import TokenOutput

_log = logging.getLogger(__name__)


class BeamRequests:
    """By request; in each step `choose`, once the step is computed `advance`."""

    def __init__(self, cache: KVCache) -> None:
        self._cache = cache
        self._searches: dict[str, BeamSearch] = {}
        self._chosen: list[str] = []  # in this step

    def add(self, sequence: Sequence) -> None:
        """A request begins; ignored where it asks for no beam search."""
        if sequence.request.params.is_beam_search:
            self._searches[sequence.request_id] = BeamSearch(sequence)

    def forget(self, sequence: Sequence) -> None:
        """The request has ended."""
        self._searches.pop(sequence.request_id, None)

    def choose(self, logits: Tensor, rows: Mapping[Sequence, int]) -> None:
        """Extend the beams whose sequences have these rows of the step's logits (num_logits, vocab_size)."""
        self._chosen = list(dict.fromkeys(sequence.request_id for sequence in rows))
        for request_id in self._chosen:
            search = self._searches[request_id]
            index = torch.tensor([rows[lane] for lane in search.lanes], device=logits.device)
            search.choose(logits[index])

    def advance(self) -> list[TokenOutput]:
        """After `choose`: what is new of each search. The caller ends those that have a finish_reason."""
        outputs = []
        for request_id in self._chosen:
            search = self._searches[request_id]
            try:
                search.move(self._cache)
                output = search.output()
            except Exception as error:
                _log.exception("A step of a beam search failed")
                message = f"The engine failed: {type(error).__name__}: {error}"
                output = TokenOutput(request_id, finish_reason="error", error=message)
            if output is not None:
                outputs.append(output)
        self._chosen = []
        return outputs
