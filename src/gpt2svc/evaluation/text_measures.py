"""Measures by name: from likelihoods, and from written texts beside their references."""

import math
from collections.abc import Sequence
from typing import Any

from gpt2svc.evaluation.bleu import corpus_bleu, is_bleu_available
from gpt2svc.evaluation.examples import Example
from gpt2svc.evaluation.likelihood import Likelihood
from gpt2svc.evaluation.rouge import corpus_rouge


def likelihood_measures(likelihood: Likelihood) -> dict[str, float]:
    """Those that are known and finite."""
    measured = {
        "perplexity": likelihood.perplexity,
        "bits_per_byte": likelihood.bits_per_byte,
        "word_perplexity": likelihood.word_perplexity,
        "loss": likelihood.loss,
        "accuracy": likelihood.accuracy,
    }
    return {name: value for name, value in measured.items() if value is not None and math.isfinite(value)}


def compare_texts(written: Sequence[str], examples: Sequence[Example]) -> tuple[dict[str, float], dict[str, Any]]:
    """The measures, and what else is worth keeping. White space round a text counts for nothing."""
    hypotheses = [text.strip() for text in written]
    references = [example.text.strip() for example in examples]
    metrics: dict[str, float] = {}
    details: dict[str, Any] = {}
    if is_bleu_available():
        bleu = corpus_bleu(hypotheses, references)
        metrics["bleu"] = bleu.score
        details["bleu_signature"] = bleu.signature
    rouge = corpus_rouge(hypotheses, references)
    metrics |= {"rouge1": rouge.rouge1, "rouge2": rouge.rouge2, "rougeL": rouge.rouge_l}
    metrics["exact_match"] = sum(map(str.__eq__, hypotheses, references)) / len(references)
    return metrics, details
