import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from gpt2svc.errors import InvalidInputError, ModelFormatError
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.tokenizer import write_tokenizer_folder

END = "<|endoftext|>"
TEXTS = (
    "",
    " ",
    "Hello, world! It's 2026; they'll say \"we've done it\".",
    "Привіт! Як справи? Це ґанок, їжак і м'яч — усе гаразд.",
    "Привіт🙂 👩‍👩‍👧‍👦 🇺🇦 emoji",
    "a  b   c\t\td\n\n\n  e \r\n f   ",
    "   leading and trailing   ",
    "\u00a0non-breaking\u2028line\u0085separators\u200b",
    "e\u0301 é ﬁ Ⅷ ١٢٣ 中文字 日本語",
    "\x00NUL\x00 and \x1b[31m controls\x7f",
    "def f(x):\n    return x**2  # comment\n",
    "x" * 300,
    "\ufffd\ufeff\U0010ffff",
)


@pytest.fixture(scope="module")
def json_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BPE that was trained on the texts above, as tokenizer.json."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=[END], initial_alphabet=alphabet, min_frequency=1, show_progress=False
    )
    backend.train_from_iterator(TEXTS, trainer)
    folder = tmp_path_factory.mktemp("json")
    backend.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def bpe_folder(json_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same vocabulary as vocab.json and merges.txt."""
    folder = tmp_path_factory.mktemp("bpe")
    model = json.loads((json_folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"])]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(params=["json_folder", "bpe_folder"])
def folder(request: pytest.FixtureRequest) -> Path:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Path)
    return found


@pytest.fixture(scope="module")
def tokenizer(json_folder: Path) -> Tokenizer:
    return Tokenizer.from_folder(json_folder)


@pytest.fixture(scope="module")
def reference(bpe_folder: Path) -> Any:
    from transformers import GPT2Tokenizer

    return GPT2Tokenizer.from_pretrained(str(bpe_folder))


@pytest.mark.parametrize("text", TEXTS)
def test_ids_and_text_equal_those_of_transformers(folder: Path, reference: Any, text: str) -> None:
    ours = Tokenizer.from_folder(folder)
    ids = ours.encode(text)
    assert ids == reference.encode(text, add_special_tokens=False)
    assert ours.decode(ids) == text == reference.decode(ids, clean_up_tokenization_spaces=False)


def test_pieces_of_characters_decode_as_in_transformers(tokenizer: Tokenizer, reference: Any) -> None:
    ids = tokenizer.encode("Ї🙂")
    for start in range(len(ids)):
        for end in range(start, len(ids) + 1):
            theirs = reference.decode(ids[start:end], clean_up_tokenization_spaces=False)
            assert tokenizer.decode(ids[start:end]) == theirs


@settings(max_examples=200, deadline=None)
@given(text=st.text())
def test_any_text_survives_the_round_trip(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode("utf-8")


def test_both_forms_of_the_files_know_the_same_tokens(json_folder: Path, bpe_folder: Path) -> None:
    first, second = Tokenizer.from_folder(json_folder), Tokenizer.from_folder(bpe_folder)
    assert first.vocab_size == second.vocab_size
    for token_id in range(first.vocab_size):
        assert first.token_bytes(token_id) == second.token_bytes(token_id)


def test_special_token_typed_by_a_user_is_ordinary_text(folder: Path) -> None:
    tokenizer = Tokenizer.from_folder(folder)
    assert tokenizer.eos_token_id == tokenizer.bos_token_id == 0
    text = f"end{END}of {END}{END} text"
    ids = tokenizer.encode(text)
    assert tokenizer.eos_token_id not in ids
    assert tokenizer.decode(ids) == text


def test_special_token_in_a_whole_prompt_is_that_token(folder: Path) -> None:
    tokenizer = Tokenizer.from_folder(folder)
    eos = tokenizer.eos_token_id
    assert tokenizer.special_tokens == {END: eos}
    reference = Backend.from_file(str(folder / "tokenizer.json")) if (folder / "tokenizer.json").exists() else None
    for text in (f"a{END}{END} b", END, "no mark", f"half <|endof{END}"):
        ids = tokenizer.encode_marked(text)
        assert ids.count(eos) == text.count(END)
        assert [i for i in ids if i != eos] == [i for part in text.split(END) for i in tokenizer.encode(part)]
        if reference is not None:
            assert ids == reference.encode(text).ids


def test_special_tokens_and_padding_ids_stand_for_nothing(tokenizer: Tokenizer) -> None:
    assert tokenizer.token_bytes(0) == b""
    assert tokenizer.token_bytes(tokenizer.vocab_size) == b""
    assert tokenizer.token_bytes(-1) == b""
    assert tokenizer.decode([0, *tokenizer.encode("so"), 0, 10**9]) == "so"


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "ok \ud83d then"])
def test_lone_surrogate_is_refused_by_place(tokenizer: Tokenizer, text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"U\+D[0-9A-F]{3} at character \d"):
        tokenizer.encode(text)


@pytest.mark.timeout(60)  # quadratic work would take hours
@pytest.mark.parametrize("unit", ["a", " ", "\n", "!", "1", "Ї", "🙂", " a", "'", "\x00", "aA", "<|"])
def test_a_megabyte_of_one_thing_is_encoded_in_linear_time(tokenizer: Tokenizer, unit: str) -> None:
    text = unit * (1_000_000 // len(unit.encode("utf-8")))
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_eos_is_what_the_files_name(json_folder: Path, tmp_path: Path) -> None:
    for name, content in (
        ("tokenizer_config.json", {"eos_token": "Hello", "bos_token": {"content": "Привіт"}}),
        ("special_tokens_map.json", {"eos_token": {"content": "Hello"}, "bos_token": "Привіт"}),
    ):
        folder = tmp_path / name
        shutil.copytree(json_folder, folder)
        backend = Backend.from_file(str(folder / "tokenizer.json"))
        backend.add_tokens(["Hello", "Привіт"])  # not marked as special there
        backend.save(str(folder / "tokenizer.json"))
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
        tokenizer = Tokenizer.from_folder(folder)
        assert tokenizer.eos_token_id == backend.token_to_id("Hello")
        assert tokenizer.bos_token_id == backend.token_to_id("Привіт")
        assert tokenizer.token_bytes(tokenizer.eos_token_id or -1) == b""
        assert tokenizer.decode(tokenizer.encode("Hello, Привіт")) == "Hello, Привіт"
        assert not {tokenizer.eos_token_id, tokenizer.bos_token_id} & set(tokenizer.encode("Hello, Привіт"))


def test_vocabulary_without_an_end_has_none(bpe_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(bpe_folder, tmp_path / "bpe")
    vocab = json.loads((tmp_path / "bpe" / "vocab.json").read_text(encoding="utf-8"))
    vocab["<other>"] = vocab.pop(END)
    (tmp_path / "bpe" / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    tokenizer = Tokenizer.from_folder(tmp_path / "bpe")
    assert tokenizer.eos_token_id is tokenizer.bos_token_id is None


def test_added_tokens_of_a_fine_tune_keep_their_ids(bpe_folder: Path, tmp_path: Path) -> None:
    size = Tokenizer.from_folder(bpe_folder).vocab_size
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(bpe_folder, old)
    shutil.copytree(bpe_folder, new)
    (old / "added_tokens.json").write_text(json.dumps({"<user>": size, "<pad>": size + 1}))
    (old / "special_tokens_map.json").write_text(json.dumps({"pad_token": "<pad>"}))
    decoder = {str(size): {"content": "<user>", "special": False}, str(size + 1): {"content": "<pad>", "special": True}}
    (new / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": decoder, "pad_token": "<pad>"}))
    for folder in (old, new):
        tokenizer = Tokenizer.from_folder(folder)
        assert tokenizer.encode("<user>") == [size]
        assert tokenizer.token_bytes(size) == b"<user>"
        assert size + 1 not in tokenizer.encode("<pad>")
        assert (tokenizer.vocab_size, tokenizer.max_encodable_id) == (size + 2, size)
    (old / "added_tokens.json").write_text(json.dumps({"<user>": size + 7}))
    with pytest.raises(ModelFormatError, match="<user>"):
        Tokenizer.from_folder(old)


def test_token_outside_the_byte_alphabet_stands_for_itself(bpe_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bpe"
    shutil.copytree(bpe_folder, folder)
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    size = len(vocab)
    vocab |= {"one two": size, "слово": size + 1}
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    tokenizer = Tokenizer.from_folder(folder)
    assert tokenizer.decode([size, size + 1]) == "one twoслово"


def test_settings_for_training_are_switched_off(json_folder: Path, tmp_path: Path) -> None:
    described = json.loads((json_folder / "tokenizer.json").read_text(encoding="utf-8"))
    described["model"]["dropout"] = 0.9
    described["truncation"] = {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    described["padding"] = {
        "strategy": {"Fixed": 50},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": END,
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
    text = "Hello, world!"
    assert Tokenizer.from_folder(tmp_path).encode(text) == Tokenizer.from_folder(json_folder).encode(text)


def test_missing_tokenizer_says_which_files_to_put_there(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match=r"vocab\.json and merges\.txt"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b'{"model": {"type": "BPE"}}',
        b'{"model": null}',
        b'{"model": {"type": "WordPiece", "vocab": {"a": 0}}, "pre_tokenizer": {"type": "ByteLevel"}}',
        b'{"model": {"type": "Unigram"}}',
        b'{"model": {"type": "BPE", "vocab": {}, "merges": []}, "pre_tokenizer": {"type": "Whitespace"}}',
        b'{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}, "pre_tokenizer": {"type": "ByteLevel"}}',
        b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}, "pre_tokenizer": {"type": "ByteLevel"}}',
    ],
)
def test_broken_tokenizer_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ModelFormatError, match="tokenizer"):
        Tokenizer.from_folder(tmp_path)


def test_empty_vocabulary_is_refused(tmp_path: Path) -> None:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel()
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelFormatError, match="empty vocabulary"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vocab.json", "[]"),
        ("vocab.json", '{"a": "0"}'),
        ("vocab.json", '{"a": -1}'),
        ("vocab.json", '{"a": 0, "a": 1}'),
        ("merges.txt", "a b c\n"),
        ("merges.txt", "lonely\n"),
        ("merges.txt", "not there\n"),
        ("tokenizer_config.json", "{"),
        ("added_tokens.json", "[]"),
    ],
)
def test_broken_file_is_refused_by_name(bpe_folder: Path, tmp_path: Path, name: str, content: str) -> None:
    folder = tmp_path / "bpe"
    shutil.copytree(bpe_folder, folder)
    (folder / name).write_text(content)
    with pytest.raises(ModelFormatError) as caught:
        Tokenizer.from_folder(folder)
    assert name in caught.value.message


def test_odd_entries_of_side_files_are_skipped(bpe_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bpe"
    shutil.copytree(bpe_folder, folder)
    odd = {
        "added_tokens_decoder": {"-1": {"content": "x"}, "1²": {"content": "y"}, "9": None, "8": {"content": 5}},
        "eos_token": 5,
        "bos_token": {"text": "x"},
        "additional_special_tokens": [5, None, {"content": ""}],
        "extra_special_tokens": {"a": "not in the vocabulary"},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(odd))
    assert Tokenizer.from_folder(folder).eos_token_id == 0


def test_tiny_tokenizer_of_the_other_tests_loads(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_folder(write_tokenizer_folder(tmp_path))
    assert tokenizer.eos_token_id == tokenizer.vocab_size - 1


def test_special_tokens_beyond_the_model_are_never_encoded(json_folder: Path, tmp_path: Path) -> None:
    backend = Backend.from_file(str(json_folder / "tokenizer.json"))
    backend.add_special_tokens([AddedToken("[PAD]", special=True)])
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.max_encodable_id == tokenizer.vocab_size - 2
    assert max(tokenizer.encode("[PAD] [PAD]")) <= tokenizer.max_encodable_id
