"""BLEU by sacrebleu, so that the number can be compared with others': its signature says how it was made."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True, slots=True)
class Bleu:
    score: float  # 0 to 100
    signature: str


def is_bleu_available() -> bool:
    """Whether sacrebleu is installed (the extra `eval`)."""
    return find_spec("sacrebleu") is not None


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str]) -> Bleu:
    """Of the whole corpus with one reference each, with sacrebleu's defaults. Needs `is_bleu_available`."""
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU()
    score = metric.corpus_score(list(hypotheses), [list(references)])
    return Bleu(float(score.score), str(metric.get_signature()))
