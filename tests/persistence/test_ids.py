import pytest

from gpt2svc.persistence.ids import MAX_ID_LENGTH, IdGenerator, is_id


def test_ids_say_what_they_name_and_have_26_more_characters() -> None:
    ids = IdGenerator()
    for kind, text, prefix in (
        ("conversation", ids.new_conversation_id(), "conv_"),
        ("message", ids.new_message_id(), "msg_"),
        ("generation", ids.new_generation_id(), "gen_"),
    ):
        assert text.startswith(prefix)
        assert len(text) == len(prefix) + 26 <= MAX_ID_LENGTH
        assert is_id(kind, text)


def test_ids_sort_in_the_order_in_which_they_were_made() -> None:
    ids = IdGenerator()
    made = [ids.new_message_id() for _ in range(5000)]
    assert made == sorted(set(made))


@pytest.mark.parametrize("times", [[1000] * 50, list(range(1000, 950, -1))], ids=["clock stands", "clock goes back"])
def test_ids_grow_whatever_the_clock_does(times: list[int]) -> None:
    readings = iter(times)
    ids = IdGenerator(clock_ms=lambda: next(readings))
    made = [ids.new_message_id() for _ in times]
    assert made == sorted(set(made))


def test_neighbours_in_one_millisecond_share_no_random_bits() -> None:
    ids = IdGenerator(clock_ms=lambda: 1000)
    first, second = ids.new_message_id(), ids.new_message_id()
    assert first[-16:-8] != second[-16:-8]  # the upper half of 80 bits, which counting up would leave as it is


def test_the_first_characters_are_the_time_as_in_a_ulid() -> None:
    assert IdGenerator(clock_ms=lambda: 1469918176385).new_message_id()[4:14] == "01ARYZ6S41".lower()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "msg_",
        "conv_01aryz6s41tsv4rrffq69g5fav",  # another kind
        "msg_01ARYZ6S41TSV4RRFFQ69G5FAV",  # upper case
        "msg_01aryz6s41tsv4rrffq69g5fa",  # short
        "msg_01aryz6s41tsv4rrffq69g5favv",  # long
        "msg_01aryz6s41tsv4rrffq69g5fai",  # a letter that the alphabet leaves out
        "msg_81aryz6s41tsv4rrffq69g5fav",  # over 128 bits
        "msg_01aryz6s41tsv4rrffq69g5fav\n",
        "msg_01aryz6s41tsv4rrffq69g5fa٣",  # a digit, but not of ours
        "msg_../../../../../etc/passwd",
        "\ud800",
    ],
)
def test_what_has_another_form_is_no_id(text: str) -> None:
    assert not is_id("message", text)
