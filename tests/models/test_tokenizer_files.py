import json
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers

from gpt2svc.errors import ModelFormatError
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.tokenizer import write_tokenizer_folder
from tests.models.tokenizer_texts import END


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
