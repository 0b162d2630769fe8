from collections import Counter
from dataclasses import replace

import numpy as np

from gpt2svc.training.encoded_corpus import EncodedCorpus
from gpt2svc.training.packing import PackedBatches, PieceOrder

END, SEPARATOR = 0, 1


def corpus(*lengths: int, repeats: float = 1.0, is_conversation: bool = True) -> EncodedCorpus:
    """Documents whose tokens are all different, so that each can be followed, each with its end marker."""
    parts, first = [], 10
    for length in lengths:
        parts.append([*range(first, first + length), END])
        first += length
    ids = np.concatenate(parts).astype(np.int32)
    return EncodedCorpus(
        tokens=np.stack([ids, ids]),
        starts=np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64),
        repeats=np.full(len(lengths), repeats),
        is_conversation=np.full(len(lengths), is_conversation),
        separator_ids=(SEPARATOR,),
        has_end=True,
        num_bytes=int(sum(lengths)),
    )


def packing(
    encoded: EncodedCorpus, *, budget: int = 32, max_length: int = 16, join_share: float = 0.0
) -> PackedBatches:
    return PackedBatches(PieceOrder(encoded, max_length, join_share, seed=3), budget)


def documents_of(chosen: PackedBatches, epoch: int = 0) -> list[list[int]]:
    return [piece[0].tolist() for batch in chosen.epoch(epoch) for piece in batch]


def test_each_token_but_the_first_is_a_target_once_an_epoch_cuts_included() -> None:
    encoded = corpus(3, 40, 16, 17, 1)
    batches = packing(encoded)
    targets = Counter(
        int(token) for batch in batches.epoch(0) for token in batches.collate(batch)["shift_labels"][0] if token != END
    )
    firsts = {int(encoded.document(index)[0, 0]) for index in range(5)}
    wanted = [int(token) for token in encoded.tokens[0] if token != END and int(token) not in firsts]
    assert targets == Counter(wanted)


def test_every_document_ends_with_the_end_marker_and_starts_at_position_zero() -> None:
    batches = packing(corpus(5, 7, 9, 4))
    for batch in batches.epoch(0):
        packed = batches.collate(batch)
        ends = np.cumsum(packed["lengths"])
        assert all(packed["shift_labels"][0, ends - 1] == END)
        assert all(packed["position_ids"][0, ends - packed["lengths"]] == 0)
        assert sum(packed["lengths"]) == packed["input_ids"].shape[1] == packed["position_ids"].shape[1]


def test_batches_keep_to_the_budget_and_pieces_to_the_longest_length() -> None:
    batches = packing(corpus(*range(1, 60)))
    collated = [batches.collate(batch) for batch in batches.epoch(0)]
    assert max(batch["input_ids"].shape[1] for batch in collated) <= 32
    assert max(length for batch in collated for length in batch["lengths"]) <= 16


def test_without_packing_a_batch_has_a_fixed_number_of_documents() -> None:
    batches = replace(packing(corpus(*[4] * 7)), pieces_per_batch=2)
    assert [len(batch) for batch in batches.epoch(0)] == [2, 2, 2, 1]


def test_a_piece_with_nothing_to_learn_is_left_out() -> None:
    encoded = corpus(5, 5)
    encoded.tokens[1, :6] = -100
    assert len(documents_of(packing(encoded))) == 1


def test_an_epoch_is_a_function_of_the_seed_and_its_number() -> None:
    encoded = corpus(*[4] * 30, repeats=1.5)
    assert documents_of(packing(encoded, join_share=0.4), 2) == documents_of(packing(encoded, join_share=0.4), 2)
    assert documents_of(packing(encoded), 1) != documents_of(packing(encoded), 2)
    assert documents_of(packing(encoded), 1) != documents_of(
        replace(packing(encoded), order=replace(packing(encoded).order, seed=4)), 1
    )


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
    assert tokens == Counter(int(token) for token in encoded.tokens[0] if token >= 10)


def test_running_text_is_never_joined() -> None:
    pieces = documents_of(packing(corpus(*[4] * 50, is_conversation=False), join_share=0.9))
    assert not any(SEPARATOR in piece for piece in pieces)
