import itertools
import random

import pytest

from gpt2svc.evaluation.rouge import corpus_rouge, rouge, words


def test_rouge_of_ukrainian_equals_the_hand_computed_case() -> None:
    # Reference: кіт сидить на вікні і спить (6 words); hypothesis: кіт спить на вікні (4 words).
    # Common words: кіт, спить, на, вікні = 4; common pairs: "на вікні" = 1 of 3 and 5; longest common subsequence:
    # кіт на вікні = 3.
    result = rouge("Кіт спить на вікні.", "Кіт сидить на вікні і спить!")
    assert result.rouge1 == pytest.approx(2 * 4 / (4 + 6))
    assert result.rouge2 == pytest.approx(2 * 1 / (3 + 5))
    assert result.rouge_l == pytest.approx(2 * 3 / (4 + 6))


def test_a_repeated_word_counts_as_often_as_the_reference_has_it() -> None:
    assert rouge("the the the the", "the cat").rouge1 == pytest.approx(2 * 1 / (4 + 2))


@pytest.mark.parametrize(("left", "right"), [("", ""), ("", "слово"), ("слово", ""), ("!!!", "слово")])
def test_a_text_without_words_scores_zero(left: str, right: str) -> None:
    assert rouge(left, right).rouge1 == rouge(left, right).rouge_l == 0


def test_the_mean_is_over_pairs() -> None:
    assert corpus_rouge(["так", "ні"], ["так", "так"]).rouge1 == 0.5


def test_words_are_the_same_however_they_are_typed() -> None:
    assert words("М'ята, М’ЯТА мʼята") == ["м'ята"] * 3
    assert words("й їжак") == words("й їжак".replace("й", "и\u0306").replace("ї", "і\u0308")) == ["й", "їжак"]
    assert words("за\u0301мок") == ["замок"]
    assert words("snake_case 3.5%") == ["snake", "case", "3", "5"]


def test_longest_common_subsequence_equals_the_plain_recursion() -> None:
    def longest(left: list[str], right: list[str]) -> int:
        table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
        for i, j in itertools.product(range(len(left)), range(len(right))):
            equal = left[i] == right[j]
            table[i + 1][j + 1] = table[i][j] + 1 if equal else max(table[i][j + 1], table[i + 1][j])
        return table[-1][-1]

    chooser = random.Random(1)
    for _ in range(100):
        left, right = ([chooser.choice("abcd") for _ in range(chooser.randint(1, 90))] for _ in range(2))
        expected = 2 * longest(left, right) / (len(left) + len(right))
        assert rouge(" ".join(left), " ".join(right)).rouge_l == pytest.approx(expected)
