from pathlib import Path

from gpt2svc.cli.local_engine import LocalReply
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import EngineRequest, TokenOutput
from gpt2svc.generation.reply_text import ReplyText
from gpt2svc.generation.stop_strings import StopStrings
from gpt2svc.models.tokenizer import Tokenizer
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
