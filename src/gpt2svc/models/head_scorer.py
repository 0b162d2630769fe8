"""HeadScorer: from the hidden state of a text to what a task's head makes of it."""

import numpy as np
from numpy.typing import NDArray

from gpt2svc.models.task_head import CHOICE_BIAS, CHOICE_WEIGHT, SCORE_WEIGHT, ClassificationHead, TaskHead
from gpt2svc.models.weights import WeightReader


class HeadScorer:
    """On the CPU in float64, one text at a time: the same bits in any company."""

    def __init__(self, head: TaskHead, weights: WeightReader) -> None:
        def read(name: str) -> NDArray[np.float64]:
            values: NDArray[np.float64] = weights.read(name).double().numpy()
            return values

        self._is_tanh = False
        if isinstance(head, ClassificationHead):
            self._weight = read(SCORE_WEIGHT)
            self._bias = np.zeros(len(self._weight))
        else:
            self._weight, self._bias = read(CHOICE_WEIGHT), read(CHOICE_BIAS)
            self._is_tanh = head.activation == "tanh"

    def __call__(self, hidden: NDArray[np.float64]) -> NDArray[np.float64]:
        """The last hidden state (n_embd,), after the final norm, to scores (num_labels,), of a choice (1,)."""
        scores: NDArray[np.float64] = self._weight @ hidden + self._bias
        return np.tanh(scores) if self._is_tanh else scores
