"""Beam search of one request: in each step all its beams are rows beside those of other requests.

Plain beam search is that of transformers' `generate`, token for token. With several groups it is diverse beam search
(Vijayakumar et al. 2016, arXiv:1610.02424): in each step the groups choose one after another, and a token's score is
lowered by `diversity_penalty` for each beam of an earlier group that has just chosen it. That counts in the beam's sum.
"""

from itertools import chain

from torch import Tensor

from gpt2svc.engine.beam_candidates import BeamScores
from gpt2svc.engine.beam_group import BeamGroup
from gpt2svc.engine.beam_lanes import BeamLanes
from gpt2svc.engine.kv_cache import KVCache
from gpt2svc.engine.sampling_batch import NOT_A_NUMBER, NOTHING_LEFT
from gpt2svc.engine.sequence import Sequence
from gpt2svc.engine.types import Hypothesis, TokenLogprobs, TokenOutput


class BeamSearch:
    """In each step `lanes` are computed, then `choose` with their logits, `move`, and `output` tells what is new."""

    def __init__(self, sequence: Sequence) -> None:
        params = sequence.request.params
        self._sequence = sequence
        self._lanes = BeamLanes(sequence)
        self._groups = [
            BeamGroup(
                params.num_beams // params.num_beam_groups,
                max_new_tokens=params.max_new_tokens - sequence.request.num_reply_tokens,
                stop_token_ids=params.stop_token_ids,
                length_penalty=params.length_penalty,
                early_stopping=params.early_stopping,
            )
            for _ in range(params.num_beam_groups)
        ]
        # By group: the row of each live beam, as an index of `lanes`. At first all groups have the prompt's one row.
        self._rows = [[0] for _ in self._groups]
        self._num_shared = 0  # tokens that the whole search has in common and that were told
        self._error: str | None = None

    @property
    def lanes(self) -> list[Sequence]:
        """Whose next rows are to be computed, in the order in which `choose` takes their logits."""
        return self._lanes.of_beams

    @property
    def is_done(self) -> bool:
        return self._error is not None or all(group.is_done for group in self._groups)

    def choose(self, logits: Tensor) -> None:
        """Extend the beams: logits (len(lanes), vocab_size)."""
        scores = BeamScores(logits, self.lanes)
        if not scores.is_number:
            self._error = NOT_A_NUMBER
            return
        chosen: list[int] = []  # by the groups so far
        penalty = self._sequence.request.params.diversity_penalty
        for group, rows in zip(self._groups, self._rows, strict=True):
            if not group.is_done:
                found = scores.candidates(group.live, rows, group.num_candidates, chosen, penalty)
                chosen += group.update(found)
        if self.is_done and not self._hypotheses():
            self._error = NOTHING_LEFT

    def move(self, cache: KVCache) -> None:
        """Bring the KV cache in line with what was chosen."""
        if self.is_done:
            best = self._hypotheses()
            self._lanes.keep_best(self._sequence.request.prompt_token_ids + best[0].token_ids if best else ())
            return
        live = [
            (rows[beam.parent], beam)
            for group, rows in zip(self._groups, self._rows, strict=True)
            for beam in group.live
        ]
        self._lanes.move([row for row, _ in live], [beam.token_ids[-1] for _, beam in live], cache)
        self._rows, start = [], 0
        for group in self._groups:
            self._rows.append(list(range(start, start + len(group.live))))
            start += len(group.live)

    def output(self) -> TokenOutput | None:
        """What all beams and the best finished hypothesis have newly in common; at the end the rest of the best."""
        sequence = self._sequence
        if self._error is not None:
            return TokenOutput(
                sequence.request_id,
                finish_reason="error",
                error=self._error,
                num_cached_tokens=sequence.num_cached_tokens,
            )
        hypotheses = self._hypotheses()
        start = self._num_shared
        if self.is_done:
            best = hypotheses[0]
            return TokenOutput(
                sequence.request_id,
                best.token_ids[start:],
                logprobs=None if best.logprobs is None else best.logprobs[start:],
                finish_reason=best.finish_reason,
                num_cached_tokens=sequence.num_cached_tokens,
                hypotheses=tuple(hypotheses[: sequence.request.params.num_return_sequences]),
            )
        # NOTE: a finished one that isn't the best can't become it; the beams still can.
        rivals: list[tuple[tuple[int, ...], tuple[TokenLogprobs, ...]]] = [
            (beam.token_ids, beam.logprobs) for group in self._groups for beam in group.live
        ]
        rivals += [(best.token_ids, best.logprobs or ()) for best in hypotheses[:1]]
        self._num_shared = end = _num_shared([token_ids for token_ids, _ in rivals], start)
        if end == start:
            return None
        token_ids, logprobs = rivals[0]
        return TokenOutput(
            sequence.request_id,
            token_ids[start:end],
            logprobs=logprobs[start:end] if logprobs else None,
            num_cached_tokens=sequence.num_cached_tokens,
        )

    def _hypotheses(self) -> list[Hypothesis]:
        """All that are finished, best first; of equals those of earlier groups."""
        finished = chain.from_iterable(group.finished for group in self._groups)
        return sorted(finished, key=lambda hypothesis: -hypothesis.score)


def _num_shared(sequences: list[tuple[int, ...]], start: int) -> int:
    """Length of the longest common prefix of sequences which agree up to `start`."""
    end = start
    for tokens in zip(*(sequence[start:] for sequence in sequences), strict=False):
        if any(token != tokens[0] for token in tokens):
            break
        end += 1
    return end
