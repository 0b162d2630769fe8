"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin, 2004), for any script that separates words.

Words are runs of letters and digits of any script after Unicode composition (NFC), case-folded, without combining
marks (a stress mark is no other word); an apostrophe within a word belongs to it, whichever of its three characters is
typed. Nothing is stemmed. Text without spaces between words (Chinese, Japanese) is not segmented.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_APOSTROPHES: Final = str.maketrans({"’": "'", "ʼ": "'"})


@dataclass(frozen=True, slots=True)
class Rouge:
    """F1 of each kind, 0 to 1; over several pairs their mean."""

    rouge1: float
    rouge2: float
    rouge_l: float


def corpus_rouge(hypotheses: Sequence[str], references: Sequence[str]) -> Rouge:
    """The mean over pairs; there must be at least one."""
    pairs = [rouge(hypothesis, reference) for hypothesis, reference in zip(hypotheses, references, strict=True)]
    return Rouge(
        rouge1=sum(pair.rouge1 for pair in pairs) / len(pairs),
        rouge2=sum(pair.rouge2 for pair in pairs) / len(pairs),
        rouge_l=sum(pair.rouge_l for pair in pairs) / len(pairs),
    )


def rouge(hypothesis: str, reference: str) -> Rouge:
    """Of one pair. A kind that neither text is long enough for counts as 0."""
    found, wanted = words(hypothesis), words(reference)
    return Rouge(
        rouge1=_ngram_f1(found, wanted, 1),
        rouge2=_ngram_f1(found, wanted, 2),
        rouge_l=_f1(_longest_common_subsequence(found, wanted), len(found), len(wanted)),
    )


def words(text: str) -> list[str]:
    composed = unicodedata.normalize("NFC", text.translate(_APOSTROPHES)).casefold()
    return _WORD.findall("".join(char for char in composed if not unicodedata.category(char).startswith("M")))


def _ngram_f1(found: Sequence[str], wanted: Sequence[str], size: int) -> float:
    found_ngrams, wanted_ngrams = _ngrams(found, size), _ngrams(wanted, size)
    return _f1((found_ngrams & wanted_ngrams).total(), found_ngrams.total(), wanted_ngrams.total())


def _ngrams(tokens: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1))


def _f1(num_common: int, num_found: int, num_wanted: int) -> float:
    return 2 * num_common / (num_found + num_wanted) if num_common else 0.0


def _longest_common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Its length, bit-parallel (Hyyrö, 2004): one whole-number operation a word instead of a row of a table."""
    places: dict[str, int] = {}
    for index, word in enumerate(left):
        places[word] = places.get(word, 0) | 1 << index
    mask = (1 << len(left)) - 1
    row = mask
    for word in right:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & mask
    return len(left) - row.bit_count()
