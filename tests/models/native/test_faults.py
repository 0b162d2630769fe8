"""A wrong number never gets into the kernels: the step is refused, the cache stays, and the next step is right."""

import ctypes
from pathlib import Path

import pytest
import torch

from gpt2svc.errors import EngineError
from gpt2svc.models.chunk import Chunk
from gpt2svc.models.native.faults import Fault, fault_message
from gpt2svc.models.native.gpt2 import NativeGPT2
from gpt2svc.models.native.library import NativeLibrary
from gpt2svc.models.native.slot_cache import SlotCache
from gpt2svc.models.native.structures import FaultStruct
from tests.fakes.checkpoints import random_gpt2
from tests.fakes.tampered_library import TamperedLibrary, Tampering, counting, setting
from tests.models.native.test_native_gpt2 import native, opened

INT32_MAX, INT32_MIN = 2**31 - 1, -(2**31)
SLOTS, POSITIONS, VOCAB = 3, 64, 100

# Ten rows: positions 5 to 10 of slot 1 in two groups of queries, 0 to 3 of slot 2 in one.
STEP = [Chunk(1, 5, [7, 8, 9, 10, 11, 12], True), Chunk(2, 0, [1, 2, 3, 4], False, num_scored=2, num_pooled=1)]
GROUP = 4  # numbers of a group of queries: slot, start, first row, rows


@pytest.fixture(scope="module")
def tampered(library: NativeLibrary) -> TamperedLibrary:
    return TamperedLibrary(library.file)


@pytest.fixture(scope="module")
def model(tampered: TamperedLibrary, tmp_path_factory: pytest.TempPathFactory) -> NativeGPT2:
    folder = opened(random_gpt2(3, vocab_size=VOCAB, n_positions=POSITIONS), tmp_path_factory.mktemp("model"))
    return native(folder, tampered)


def content(cache: SlotCache) -> bytes:
    half = cache.num_bytes // 2
    return ctypes.string_at(cache.struct.keys, half) + ctypes.string_at(cache.struct.values, half)


def prepared(model: NativeGPT2) -> SlotCache:
    cache = model.new_cache(SLOTS)
    model.forward([Chunk(1, 0, [1, 2, 3, 4, 5], False)], cache)
    return cache


WRONG: dict[str, tuple[Tampering, str]] = {
    "token id too large": (setting("token_ids", 9, VOCAB), r"token id \(number 9 of them\) is 100, .* 0 to 99"),
    "token id negative": (setting("token_ids", 0, -1), r"token id \(number 0 of them\) is -1, "),
    "token id absurd": (setting("token_ids", 3, INT32_MAX), "token id .* is 2147483647, "),
    "slot too large": (setting("slots", 6, SLOTS), r"cache slot \(number 6 of them\) is 3, .* 0 to 2"),
    "slot negative": (setting("slots", 6, INT32_MIN), "cache slot .* is -2147483648, "),
    "position too large": (setting("places", 5, POSITIONS), r"position \(number 5 of them\) is 64, .* 0 to 63"),
    "position negative": (setting("places", 5, -1), "position .* is -1, "),
    "row of logits too large": (setting("logit_rows", 2, 10), r"row of logits \(number 2 .* is 10, .* 0 to 9"),
    "row of logits negative": (setting("logit_rows", 0, -1), "row of logits .* is -1, "),
    "hidden row too large": (setting("hidden_rows", 0, 10), "row of hidden states .* is 10, .* 0 to 9"),
    "hidden row negative": (setting("hidden_rows", 0, -5), "row of hidden states .* is -5, "),
    "rows negative": (counting("num_rows", -1), "has -1 rows, "),
    "more rows than places": (counting("num_rows", SLOTS * POSITIONS + 1), "has 193 rows, .* 0 to 192"),
    "queries negative": (counting("num_queries", -1), "has -1 groups of queries, "),
    "more queries than rows": (counting("num_queries", 11), "has 11 groups of queries, .* 0 to 10"),
    "fewer queries than rows": (counting("num_queries", 2), "number 2 begins at row 6 and should at 10"),
    "logits negative": (counting("num_logits", -1), "has -1 rows of logits, "),
    "more logits than rows": (counting("num_logits", 11), "has 11 rows of logits, .* 0 to 10"),
    "hidden negative": (counting("num_hidden", -1), "has -1 rows of hidden states, "),
    "more hidden than rows": (counting("num_hidden", 11), "has 11 rows of hidden states, .* 0 to 10"),
    "group without rows": (setting("queries", 3, 0), r"group of queries \(number 0\) has 0 rows, .* 1 to 4"),
    "group too long": (setting("queries", GROUP + 3, 5), r"group of queries \(number 1\) has 5 rows, .* 1 to 4"),
    "group beyond the rows": (setting("queries", 2 * GROUP + 2, 9), "number 2 begins at row 9 and should at 6"),
    "group before the rows": (setting("queries", 2, -4), "number 0 begins at row -4 and should at 0"),
    "group in another slot": (setting("queries", 0, 2), "number 0 begins at row 0 and should at 0, or"),
    "group at another position": (setting("queries", GROUP + 1, POSITIONS - 1), "number 1 begins at row 4"),
    "rows that are no neighbours": (setting("places", 2, 60), "number 0 begins at row 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_number_out_of_range_is_named_and_nothing_is_written(
    name: str, model: NativeGPT2, tampered: TamperedLibrary
) -> None:
    expected = model.forward(STEP, prepared(model))
    cache = prepared(model)
    before = content(cache)
    tampered.tampering, message = WRONG[name]
    with pytest.raises(EngineError, match=message):
        model.forward_with_hidden(STEP, cache)
    assert content(cache) == before
    assert torch.equal(model.forward(STEP, cache), expected)


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (Chunk(1, 5, [7, VOCAB], True), r"token id \(number 4 of them\) is 100"),
        (Chunk(1, 5, [2**40], True), "token id does not fit 32 bits"),
        (Chunk(SLOTS, 5, [7], True), "cache slot .* is 3, which is not within 0 to 2"),
        (Chunk(-1, 5, [7], True), "cache slot .* is -1"),
        (Chunk(2**31, 5, [7], True), "cache slot does not fit 32 bits"),
        (Chunk(1, POSITIONS - 1, [7, 7], True), r"position \(number 4 of them\) is 64, which is not within 0 to 63"),
        (Chunk(1, -2, [7], True), "position .* is -2"),
        (Chunk(1, 2**33, [7], True), "position does not fit 32 bits"),
        (Chunk(1, 5, [7], True, num_scored=2), "slot 1 has 1 tokens, but is asked for 2 rows of logits"),
        (Chunk(1, 5, [], True), "slot 1 has 0 tokens, but is asked for 1 rows of logits"),
        (Chunk(1, 5, [7], False, num_pooled=2), "and 2 of hidden states"),
        (Chunk(1, 5, [7], False, num_pooled=-1), "and -1 of hidden states"),
        (Chunk(0, 5, [7], True), "same cache slot"),
    ],
)
def test_a_wrong_chunk_is_refused_whole(chunk: Chunk, message: str, model: NativeGPT2) -> None:
    good = Chunk(0, 0, [1, 2, 3], True)
    expected = model.forward([good, *STEP], prepared(model))
    cache = prepared(model)
    before = content(cache)
    with pytest.raises(EngineError, match=message):
        model.forward([good, chunk], cache)
    assert content(cache) == before
    assert torch.equal(model.forward([good, *STEP], cache), expected)


def test_a_step_without_rows_brings_nothing(model: NativeGPT2) -> None:
    assert model.forward([], model.new_cache(1)).shape == (0, VOCAB)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"n_layer": 1}, "it has 1 layers, and this model has 3"),
        ({"n_head": 1}, "it has 1 heads, and this model has"),
        ({"n_embd": 128}, "it has 32 dimensions of a head, and this model has"),
        ({"n_positions": 40}, "it has 48 positions, and this model has 64"),
    ],
)
def test_another_models_cache_is_refused(
    shape: dict[str, int], message: str, model: NativeGPT2, library: NativeLibrary, tmp_path: Path
) -> None:
    whole = {"vocab_size": VOCAB, "n_positions": POSITIONS, **shape}
    other = native(opened(random_gpt2(4, **whole), tmp_path), library)
    cache = other.new_cache(1)
    with pytest.raises(EngineError, match=message):
        model.forward([Chunk(0, 0, [1], True)], cache)
    assert not any(content(cache))


def test_copies_stay_within_the_cache(model: NativeGPT2) -> None:
    cache = prepared(model)
    before = content(cache)
    for source, target, start, end in (
        (-1, 0, 0, 5), (0, SLOTS, 0, 5), (1, 0, -1, 5), (1, 0, 6, 5), (1, 0, 0, POSITIONS + 1),
    ):  # fmt: skip
        with pytest.raises(EngineError, match=r"slots from 0 to 2|a slot has 64 positions"):
            cache.copy_positions(source, target, start, end)
    with pytest.raises(EngineError, match="a slot has 64 positions"):
        cache.copy_prefix(1, 0, POSITIONS + 1)
    with pytest.raises(EngineError, match="names slot -1"):
        cache.copy_prefix(1, -1, 5)
    assert content(cache) == before


def test_every_fault_has_words() -> None:
    messages = {fault_message(FaultStruct(kind, 0, 12345, 678)) for kind in Fault}
    assert len(messages) == len(Fault)
    assert all("12345" in message for message in messages)
