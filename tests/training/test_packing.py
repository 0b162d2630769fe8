from collections import Counter
from dataclasses import replace

import numpy as np

from gpt2svc.training.encoded_corpus import EncodedCorpus
from gpt2svc.training.packing import Packing, pack

END, SEPARATOR = 0, 1


def corpus(*lengths: int, repeats: float = 1.0, is_conversation: bool = True) -> EncodedCorpus:
    """Documents whose tokens are all different, so that each can be followed."""
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return EncodedCorpus(
        token_ids=np.arange(10, 10 + starts[-1], dtype=np.int32),
        starts=starts,
        repeats=np.full(len(lengths), repeats),
        is_conversation=np.full(len(lengths), is_conversation),
        end_id=END,
        separator_ids=(SEPARATOR,),
        num_bytes=int(starts[-1]),
    )


def packing(encoded: EncodedCorpus, *, budget: int = 32, max_length: int = 16, join_share: float = 0.0) -> Packing:
    return Packing(encoded, budget, max_length, join_share, seed=3)


def documents_of(chosen: Packing, epoch: int = 0) -> list[list[int]]:
    return [piece.tolist() for batch in chosen.epoch(epoch) for piece in batch]


def test_each_token_but_the_first_is_a_target_once_an_epoch_cuts_included() -> None:
    encoded = corpus(3, 40, 16, 17, 1)
    targets = Counter(
        int(token) for batch in packing(encoded).epoch(0) for token in pack(batch).targets if token != END
    )
    firsts = {int(encoded.document(index)[0]) for index in range(5)}
    assert targets == Counter({int(token): 1 for token in encoded.token_ids if int(token) not in firsts})


def test_every_document_ends_with_the_end_marker_and_starts_at_position_zero() -> None:
    for batch in packing(corpus(5, 7, 9, 4)).epoch(0):
        packed = pack(batch)
        ends = np.cumsum(packed.lengths)
        assert all(packed.targets[ends - 1] == END)
        assert all(packed.position_ids[ends - packed.lengths] == 0)
        assert sum(packed.lengths) == len(packed.token_ids) == len(packed.position_ids)


def test_batches_keep_to_the_budget_and_pieces_to_the_longest_length() -> None:
    batches = [pack(batch) for batch in packing(corpus(*range(1, 60))).epoch(0)]
    assert max(len(batch.token_ids) for batch in batches) <= 32
    assert max(length for batch in batches for length in batch.lengths) <= 16


def test_an_epoch_is_a_function_of_the_seed_and_its_number() -> None:
    encoded = corpus(*[4] * 30, repeats=1.5)
    assert documents_of(packing(encoded, join_share=0.4), 2) == documents_of(packing(encoded, join_share=0.4), 2)
    assert documents_of(packing(encoded), 1) != documents_of(packing(encoded), 2)
    assert documents_of(packing(encoded), 1) != documents_of(replace(packing(encoded), seed=4), 1)


def test_repeats_count_visits_and_a_fraction_is_a_share_of_the_documents() -> None:
    visits = Counter(piece[0] for piece in documents_of(packing(corpus(*[3] * 400, repeats=2.5))))
    assert set(visits.values()) == {2, 3}
    assert 150 < sum(count == 3 for count in visits.values()) < 250


def test_joined_conversations_go_on_without_an_end_marker_within_the_longest_length() -> None:
    encoded = corpus(*[4] * 200)
    pieces = documents_of(packing(encoded, join_share=0.5))
    joined = [piece for piece in pieces if SEPARATOR in piece]
    assert len(joined) > 30
    assert all(piece.count(END) == 1 and piece[-1] == END and len(piece) - 1 <= 16 for piece in pieces)
    tokens = Counter(token for piece in pieces for token in piece if token >= 10)
    assert tokens == Counter(encoded.token_ids.tolist())


def test_running_text_is_never_joined() -> None:
    pieces = documents_of(packing(corpus(*[4] * 50, is_conversation=False), join_share=0.9))
    assert not any(SEPARATOR in piece for piece in pieces)
