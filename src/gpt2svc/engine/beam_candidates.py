"""The likeliest continuations of a group's beams, from the model's logits."""

import torch
from torch import Tensor

from gpt2svc.engine.beam_group import Beam, Candidate
from gpt2svc.engine.candidates import top_candidates
from gpt2svc.engine.logits_processors import History, new_logits_processors
from gpt2svc.engine.logprobs import token_logprobs
from gpt2svc.engine.sequence import Sequence


class BeamHistory(History):
    """What logits processors want to know of beams, which are all of one length."""

    def __init__(self, lanes: list[Sequence], vocab_size: int, device: torch.device) -> None:
        self.lengths = [len(lane.token_ids) for lane in lanes]
        self._lanes = lanes
        self._vocab_size = vocab_size
        self._device = device

    @property
    def token_ids(self) -> Tensor:
        """(rows, length) prompt and reply"""
        return torch.tensor([lane.token_ids for lane in self._lanes], device=self._device)

    @property
    def reply_counts(self) -> Tensor:
        """(rows, length): how often each of `token_ids` stands in the row's reply."""
        counts = torch.zeros((len(self._lanes), self._vocab_size), device=self._device)
        reply = self.token_ids[:, self._lanes[0].num_prompt_tokens :]
        counts.scatter_add_(1, reply, torch.ones(reply.shape, device=self._device))
        return counts.gather(1, self.token_ids)


class BeamScores:
    """Of one step of one search: each beam's log-probabilities, after the processors that its request asks for.

    As in transformers the processors act on log-probabilities, and what they did counts in a beam's sum.
    """

    def __init__(self, logits: Tensor, lanes: list[Sequence]) -> None:
        """Logits (rows, vocab_size) after each of `lanes`."""
        self._raw = logits.float()
        self._logprobs = self._raw.log_softmax(-1)
        self.is_number = not bool(self._logprobs[:, 0].isnan().any())  # one NaN makes a row of them
        self._num_logprobs = lanes[0].request.params.logprobs
        history = BeamHistory(lanes, logits.shape[1], logits.device)
        for processor in new_logits_processors(lanes, logits.device):
            processor(self._logprobs, history)

    def candidates(
        self, beams: list[Beam], rows: list[int], count: int, avoided: list[int], penalty: float
    ) -> list[Candidate]:
        """The best `count` continuations of a group whose beams have these rows, best first.

        `penalty` is taken off a token's score for each time it stands in `avoided`.
        """
        index = torch.tensor(rows, device=self._logprobs.device)
        scores = self._logprobs[index]
        if avoided and penalty:
            counts = torch.zeros(scores.shape[1], device=scores.device)
            ids = torch.tensor(avoided, device=scores.device)
            counts.index_add_(0, ids, torch.ones(len(avoided), device=scores.device))
            scores -= penalty * counts
        scores += torch.tensor([[beam.score] for beam in beams], dtype=torch.float32, device=scores.device)
        values, token_ids = top_candidates(scores, min(count, scores.shape[1]))
        width = values.shape[1]
        best, places = values.flatten().sort(descending=True, stable=True)
        best, places = best[:count], places[:count]
        found = [
            Candidate(score, place // width, token_id)
            for score, place, token_id in zip(
                best.tolist(), places.tolist(), token_ids.flatten()[places].tolist(), strict=True
            )
            if score > -torch.inf
        ]
        return found if self._num_logprobs is None else self._with_logprobs(found, index)

    def _with_logprobs(self, found: list[Candidate], index: Tensor) -> list[Candidate]:
        if self._num_logprobs is None or not found:
            return found
        parents = torch.tensor([candidate.parent for candidate in found], device=index.device)
        token_ids = torch.tensor([candidate.token_id for candidate in found], device=index.device)
        logprobs = token_logprobs(self._raw[index[parents]], token_ids, [self._num_logprobs] * len(found))
        return [candidate._replace(logprobs=each) for candidate, each in zip(found, logprobs, strict=True)]
