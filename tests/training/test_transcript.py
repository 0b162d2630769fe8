from gpt2svc.training.transcript import Turn, render_transcript


def test_a_conversation_reads_as_labelled_lines_without_an_end_marker() -> None:
    turns = [Turn("user", "Hello!"), Turn("assistant", "Hi."), Turn("user", "Bye"), Turn("assistant", "Bye!")]
    assert render_transcript(turns) == "User: Hello!\nAssistant: Hi.\nUser: Bye\nAssistant: Bye!"


def test_white_space_round_a_message_is_dropped_so_that_a_reply_starts_with_one_space() -> None:
    assert render_transcript([Turn("user", " a\n"), Turn("assistant", "\n  b ")]) == "User: a\nAssistant: b"
