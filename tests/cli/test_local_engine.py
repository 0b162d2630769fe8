from pathlib import Path
from typing import Literal

import pytest

from gpt2svc.cli.local_engine import LocalEngine, LocalReply
from gpt2svc.config import Settings
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import EngineRequest, TokenOutput
from gpt2svc.generation.reply_text import ReplyText
from gpt2svc.generation.stop_strings import StopStrings
from gpt2svc.models.native.library import NativeLibrary
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.tiny_folder import write_tiny_folder
from tests.fakes.tokenizer import write_tokenizer_folder


def test_what_a_step_brings_beyond_a_stop_string_is_not_counted(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_folder(write_tokenizer_folder(tmp_path))
    token_ids = tuple(tokenizer.encode("ab stop cd"))
    num_until_stop = len(tokenizer.encode("ab stop"))
    for step in (1, 3, 50):
        text = ReplyText(tokenizer, StopStrings(("stop",), ()))
        reply = LocalReply(EngineRequest("a", (1,), SamplingParams(seed=0)), text)
        settled = []
        for first in range(0, len(token_ids), step):
            if not reply.is_over:
                settled += reply.take(TokenOutput("a", token_ids[first : first + step]))
        assert "".join(token.text for token in settled) == "ab"
        assert (reply.num_tokens, reply.finish_reason) == (num_until_stop, "stop")


@pytest.mark.parametrize(("speculation", "kernels"), [("auto", "torch"), ("off", "auto")])
def test_speculation_and_kernels_reach_an_engine_of_the_command_s_own(
    tmp_path: Path, speculation: Literal["auto", "off"], kernels: Literal["auto", "torch"]
) -> None:
    from gpt2svc.models.native.gpt2 import NativeGPT2

    settings = Settings(
        data_dir=tmp_path / "data",
        model=str(write_tiny_folder(tmp_path / "tiny", width=16)),
        device="cpu",
        speculation=speculation,
        kernels=kernels,
    )
    engine = LocalEngine.load(settings)
    # Without weights the text is one token again and again: where it is guessed, a step brings several.
    params = SamplingParams(seed=0, temperature=0, repetition_penalty=1.0, max_new_tokens=40)
    reply = LocalReply(EngineRequest("a", (1, 2, 3), params), ReplyText(engine.tokenizer, StopStrings((), ())))
    num_steps = sum(1 for _ in engine.write([reply]))
    assert reply.num_tokens == 40
    assert (num_steps < 40) is (speculation == "auto")
    if NativeLibrary.find() is not None:
        assert isinstance(engine._core._model, NativeGPT2) is (kernels == "auto")


def test_conversations_are_written_by_the_template_of_the_settings(tmp_path: Path) -> None:
    template = tmp_path / "other.jinja"
    template.write_text("{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}<assistant>")
    folder = str(write_tiny_folder(tmp_path / "tiny"))
    settings = Settings(data_dir=tmp_path / "data", model=folder, device="cpu", chat_template=template)
    tokenizer = LocalEngine.load(settings).tokenizer
    assert tokenizer.chat_template is not None
    assert tokenizer.chat_template.render([{"role": "user", "content": "Hi"}]) == "<user>Hi</><assistant>"
