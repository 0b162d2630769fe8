"""A reply's text, checked against a plain implementation that has the full text in hand."""

from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpt2svc.generation.reply_text import ReplyText
from gpt2svc.generation.settled_token import SettledToken
from gpt2svc.generation.stop_strings import StopStrings
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.tokenizer import TINY_VOCAB_SIZE, write_tokenizer_folder

LABELS = ("User:", "Assistant:")
ALPHABET = "\n UserAsitn:x✓"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.from_folder(write_tokenizer_folder(tmp_path_factory.mktemp("tokenizer")))


def reference(raw: str, stop: Sequence[str], *, has_end_token: bool) -> str:
    """What ReplyText is to compute, in the plainest way: the first end at which anything is complete."""
    start = "\ud800"
    text = start + raw.replace("\x00", "\ufffd")
    markers = [before + label for label in LABELS for before in ("\n", start, start + " ")]
    begun = {marker[:n] for marker in markers for n in range(1, len(marker) + 1)}
    for end in range(1, len(text) + 1):
        complete = [pattern for pattern in [*markers, *stop] if text[:end].endswith(pattern)]
        if complete or end == len(text):
            if not complete and has_end_token:
                break
            dropped = [*complete, *(part for part in begun if text[:end].endswith(part))]
            text = text[: end - max((len(part) for part in dropped), default=0)]
            break
    return text.removeprefix(start).removeprefix(" ").rstrip()


def run(
    tokenizer: Tokenizer, ids: Sequence[int], stop: Sequence[str] = (), *, has_end_token: bool = False
) -> tuple[list[SettledToken], str]:
    reply = ReplyText(tokenizer, StopStrings(stop, LABELS))
    settled: list[SettledToken] = []
    for token_id in ids:
        settled += reply.push(token_id)
        if reply.is_stopped:
            break
    settled += reply.finish(has_end_token=has_end_token)
    return settled, "".join(token.text for token in settled)


def bytes_of(tokenizer: Tokenizer, text: str) -> list[int]:
    """One token a byte: the finest chunking there is."""
    return [token_id for c in text for b in c.encode() for token_id in [byte_ids(tokenizer)[b]]]


def byte_ids(tokenizer: Tokenizer) -> dict[int, int]:
    single = {tokenizer.token_bytes(i): i for i in range(256)}
    return {key[0]: token_id for key, token_id in single.items() if len(key) == 1}


@settings(max_examples=400)
@given(
    raw=st.text(ALPHABET, max_size=24) | st.text(max_size=8).filter(lambda s: s.isprintable()),
    stop=st.lists(st.text(ALPHABET, min_size=1, max_size=4), max_size=3),
    has_end_token=st.booleans(),
)
@example(raw=" Hi\nUser: x", stop=[], has_end_token=False)
@example(raw=" Hi\nUse", stop=["se"], has_end_token=False)
@example(raw="\nUxUser:", stop=["xU"], has_end_token=False)
def test_text_is_that_of_the_reference_however_it_is_chunked(
    tokenizer: Tokenizer, raw: str, stop: list[str], has_end_token: bool
) -> None:
    expected = reference(raw, stop, has_end_token=has_end_token)
    for ids in (tokenizer.encode(raw), bytes_of(tokenizer, raw)):
        assert run(tokenizer, ids, stop, has_end_token=has_end_token)[1] == expected


@settings(max_examples=300)
@given(
    ids=st.lists(st.integers(0, TINY_VOCAB_SIZE + 1), max_size=24),
    stop=st.lists(st.text(min_size=1, max_size=2), max_size=2),
)
def test_random_tokens_give_the_reference_of_their_decoded_text(
    tokenizer: Tokenizer, ids: list[int], stop: list[str]
) -> None:
    settled, text = run(tokenizer, ids, stop)
    assert text == reference(tokenizer.decode(ids), stop, has_end_token=False)
    # What is published is a beginning of what was sampled, token for token.
    assert [token.token_id for token in settled] == ids[: len(settled)]


@pytest.mark.parametrize("marker", ["\nUser:", "\nAssistant:"])
def test_no_part_of_a_marker_leaks_wherever_the_length_limit_cuts(tokenizer: Tokenizer, marker: str) -> None:
    for cut in range(len(marker) + 1):
        ids = bytes_of(tokenizer, " Hello  " + marker[:cut])
        settled, text = run(tokenizer, ids)
        assert text == "Hello"
        assert len(settled) == len(" Hello")


@pytest.mark.parametrize("beginning", ["User: me", " User: me", "\nUser: me", " Assistant: you"])
def test_a_reply_that_begins_with_a_turn_label_is_empty_wherever_it_is_cut(
    tokenizer: Tokenizer, beginning: str
) -> None:
    label_end = beginning.index(":") + 1
    for cut in range(label_end, len(beginning) + 1):
        assert run(tokenizer, bytes_of(tokenizer, beginning[:cut])) == ([], "")
    for cut in range(label_end):
        assert run(tokenizer, bytes_of(tokenizer, beginning[:cut])) == ([], "")


def test_a_begun_marker_is_text_when_the_model_itself_ends_there(tokenizer: Tokenizer) -> None:
    ids = bytes_of(tokenizer, " A")
    assert run(tokenizer, ids, has_end_token=True)[1] == "A"
    assert run(tokenizer, ids, has_end_token=False)[1] == ""


def test_a_label_inside_a_line_is_text(tokenizer: Tokenizer) -> None:
    text = " The label is User: and\n User: with a space"
    assert run(tokenizer, tokenizer.encode(text))[1] == text.strip()


def test_text_is_published_as_soon_as_it_is_settled(tokenizer: Tokenizer) -> None:
    reply = ReplyText(tokenizer, StopStrings(["<end>"], LABELS))

    def published(text: str) -> list[str]:
        return ["".join(token.text for token in reply.push(i)) for i in bytes_of(tokenizer, text)]

    assert published(" ab") == ["", "a", "b"]  # one leading space is no text
    assert published(" <ec") == ["", "", "", " <ec"]  # white space and a begun stop string wait for what follows
    assert published("\n\nU x") == ["", "", "", "\n\nU", " x"]  # so does a begun marker
    assert published("\n<end>tail") == [""] * 10
    assert reply.is_stopped
    assert reply.finish(has_end_token=False) == []


def test_a_begun_stop_string_of_the_users_is_kept_at_the_end(tokenizer: Tokenizer) -> None:
    assert run(tokenizer, tokenizer.encode(" go <en"), ["<end>"])[1] == "go <en"


def test_a_token_that_holds_text_and_the_beginning_of_a_stop_string_keeps_its_text(tokenizer: Tokenizer) -> None:
    settled, text = run(tokenizer, tokenizer.encode(" hello hell"), ["llo h"])
    assert text == "he"
    assert settled[-1].text == "he"


def test_an_unfinished_character_at_the_end_goes_with_the_token_that_began_it(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(" ри")  # its last token but one ends inside a letter
    for cut in range(1, len(ids) + 1):
        settled, text = run(tokenizer, ids[:cut])
        assert text == tokenizer.decode(ids[:cut]).removeprefix(" ").rstrip()
        assert [token.token_id for token in settled] == (ids[:cut] if text else [])


def test_adversarial_stop_strings_cost_one_step_a_character() -> None:
    stop = ["a" * n + "b" for n in range(56, 64)]
    automaton = StopStrings(stop, LABELS)
    num_steps = 0

    class Counting(list[int]):
        def __getitem__(self, index):  # type: ignore[no-untyped-def]
            nonlocal num_steps
            num_steps += 1
            return super().__getitem__(index)

    automaton._fallback = Counting(automaton._fallback)
    state = automaton.initial_state
    text = ("a" * 63 + "c") * 100
    for character in text:
        state = automaton.advance(state, character)
    assert num_steps <= len(text)


def test_verbatim_text_is_every_token_decoded_and_nothing_taken_off(tokenizer: Tokenizer) -> None:
    raw = " \n\x00User: їжак  \n"
    ids = bytes_of(tokenizer, raw)
    reply = ReplyText(tokenizer, StopStrings(["zz"], ()), is_verbatim=True)
    settled = [token for token_id in ids for token in reply.push(token_id)]
    settled += reply.finish(has_end_token=False)
    assert "".join(token.text for token in settled) == raw
    assert [token.token_id for token in settled] == ids
