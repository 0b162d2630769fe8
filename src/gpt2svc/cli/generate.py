"""`gpt2svc generate`: continue a text with a model in this process."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from gpt2svc.cli.flags import Device, Dtype, Model, ModelsDataDir, Quantize
from gpt2svc.cli.output import message, write, write_json
from gpt2svc.cli.sampling_flags import with_sampling_flags
from gpt2svc.errors import InvalidInputError
from gpt2svc.generation.settings import MAX_SEED, SamplingSettings

if TYPE_CHECKING:
    from gpt2svc.cli.local_engine import LocalEngine, LocalReply
    from gpt2svc.generation.settled_token import SettledToken

MAX_REPLIES = 32


@with_sampling_flags
def generate(
    prompt: str | None = typer.Argument(None, help="The text to continue; without it, standard input is read."),
    *,
    num_replies: int = typer.Option(
        1,
        "-n",
        "--num-return-sequences",
        min=1,
        max=MAX_REPLIES,
        help="So many continuations, with the seeds SEED, SEED + 1, …; with --num-beams the best ones.",
    ),
    is_chat: bool = typer.Option(False, "--chat", help="The prompt is a message in a chat, and the reply an answer."),
    is_streamed: bool = typer.Option(False, "--stream", help="Print the text as it is written."),
    as_json: bool = typer.Option(
        False, "--json", help="Print one JSON object; with --stream, one line for each token and each ending."
    ),
    model: Model = None,
    device: Device = None,
    dtype: Dtype = None,
    quantize: Quantize = None,
    data_dir: ModelsDataDir = None,
    settings: Mapping[str, Any],
) -> None:
    """Continue a text, without a service: gpt2svc generate "Once upon a time" --stream."""
    from gpt2svc.cli.local_engine import LocalEngine
    from gpt2svc.config import load_settings
    from gpt2svc.generation.drawn_seed import drawn_seed

    text = _prompt(prompt)
    service = load_settings(model=model, device=device, dtype=dtype, quantize=quantize, data_dir=data_dir)
    sampling = SamplingSettings.from_mapping(settings).as_applied()
    if sampling.num_beams > 1 and num_replies > sampling.num_beams:
        raise InvalidInputError(f"-n ({num_replies}) must be at most --num-beams ({sampling.num_beams}).", field="n")
    engine = LocalEngine.load(service, max_num_seqs=max(num_replies, sampling.num_beams))
    seed = drawn_seed() if sampling.seed is None else sampling.seed
    seeds = [(seed + index) % (MAX_SEED + 1) for index in range(num_replies)]
    replies = _replies(engine, text, sampling, seeds, is_chat=is_chat)
    if is_streamed:
        _stream(engine, replies, as_json=as_json)
    else:
        _print_whole(engine, replies, sampling, as_json=as_json)


def _prompt(argument: str | None) -> str:
    if argument is None:
        if sys.stdin.isatty():
            raise InvalidInputError("Give a prompt, as an argument or on standard input.", field="prompt")
        try:
            argument = sys.stdin.buffer.read().decode("utf-8").removesuffix("\n")
        except UnicodeDecodeError as error:
            raise InvalidInputError(
                f"Standard input is not UTF-8 (byte {error.start} is 0x{error.object[error.start]:02x}).",
                field="prompt",
            ) from None
    if not argument.strip():
        raise InvalidInputError("The prompt is empty.", field="prompt")
    if "\x00" in argument:
        raise InvalidInputError("The prompt holds a NUL character.", field="prompt")
    return argument


def _replies(
    engine: "LocalEngine", text: str, sampling: SamplingSettings, seeds: Sequence[int], *, is_chat: bool
) -> list["LocalReply"]:
    from gpt2svc.chat.prompt import TURN_LABELS
    from gpt2svc.cli.completion_text import CompletionText
    from gpt2svc.cli.local_chat import encode_message
    from gpt2svc.cli.local_engine import LocalReply
    from gpt2svc.engine.types import EngineRequest
    from gpt2svc.generation.reply_ends import stop_strings_of, stop_token_ids_of
    from gpt2svc.generation.reply_text import ReplyText

    tokenizer = engine.tokenizer
    token_ids = encode_message(text, tokenizer) if is_chat else tuple(tokenizer.encode(text))
    engine.check_window(len(token_ids), sampling.max_new_tokens)
    stop_strings = stop_strings_of(tokenizer, sampling.stop, TURN_LABELS if is_chat else ())
    stop_token_ids = stop_token_ids_of(tokenizer, is_reply=is_chat)
    num_results = len(seeds) if sampling.num_beams > 1 else 1
    replies = [
        LocalReply(
            EngineRequest(
                str(index),
                token_ids,
                sampling.to_params(seed=seed, stop_token_ids=stop_token_ids, num_return_sequences=num_results),
            ),
            (ReplyText if is_chat else CompletionText)(
                engine.tokenizer, stop_strings, after=None if is_chat else token_ids[-1], processing=sampling.processing
            ),
        )
        for index, seed in enumerate(seeds)
    ]
    if num_results == 1:
        return replies
    replies[0].others = replies[1:]
    return replies[:1]


def _stream(engine: "LocalEngine", replies: Sequence["LocalReply"], *, as_json: bool) -> None:
    results = _with_others(replies)
    ended: set[int] = set()
    begun: set[int] = set()
    for reply in replies:  # one after the other: side by side nobody could read them
        for written, settled in engine.write([reply]):
            index = results.index(written)
            if index not in begun and len(results) > 1 and not as_json:
                message(_heading(index, written))
            begun.add(index)
            for token in settled:
                if as_json:
                    write_json({"index": index, **_token(engine, token)}, indent=None)
                else:
                    write(token.text, end="")
            if written.finish_reason is not None and index not in ended:
                ended.add(index)
                if as_json:
                    write_json({"index": index, **_ending(written)}, indent=None)
                else:
                    write("")


def _print_whole(
    engine: "LocalEngine", replies: Sequence["LocalReply"], sampling: SamplingSettings, *, as_json: bool
) -> None:
    results = _with_others(replies)
    tokens: dict[str, list[SettledToken]] = {reply.request.request_id: [] for reply in results}
    started = time.monotonic()
    for reply, settled in engine.write(replies):
        tokens[reply.request.request_id] += settled
    seconds = time.monotonic() - started
    texts = ["".join(token.text for token in tokens[reply.request.request_id]) for reply in results]
    if not as_json:
        for index, (reply, text) in enumerate(zip(results, texts, strict=True)):
            if len(results) > 1:
                message(_heading(index, reply))
            write(text)
        return
    num_tokens = sum(reply.num_tokens for reply in results)
    info = engine.info
    write_json(
        {
            "model": info.name,
            "model_revision": info.revision,
            "device": info.device,
            "dtype": info.dtype,
            "quantize": info.quantize,
            "settings": {**sampling.to_mapping(), "seed": replies[0].request.params.seed},
            "prompt_tokens": len(replies[0].request.prompt_token_ids),
            "replies": [
                {
                    "text": text,
                    **_ending(reply),
                    "tokens": [_token(engine, token) for token in tokens[reply.request.request_id]],
                }
                for reply, text in zip(results, texts, strict=True)
            ],
            "tokens_per_second": round(num_tokens / seconds, 1) if seconds > 0 else None,
        }
    )


def _with_others(replies: Sequence["LocalReply"]) -> list["LocalReply"]:
    return [each for reply in replies for each in (reply, *reply.others)]


def _heading(index: int, reply: "LocalReply") -> str:
    if reply.request.params.is_beam_search:
        return f"--- {index + 1}"
    return f"--- {index + 1}, seed {reply.request.params.seed}"


def _token(engine: "LocalEngine", token: "SettledToken") -> dict[str, Any]:
    value: dict[str, Any] = {"token_id": token.token_id, "text": token.text}
    if token.logprobs is not None:
        value["logprob"] = token.logprobs.logprob
        value["top_logprobs"] = [
            {"token_id": token_id, "text": engine.tokenizer.decode([token_id]), "logprob": logprob}
            for token_id, logprob in token.logprobs.top
        ]
    return value


def _ending(reply: "LocalReply") -> dict[str, Any]:
    return {
        "finish_reason": reply.finish_reason,
        "seed": reply.request.params.seed,
        "completion_tokens": reply.num_tokens,
        **({"score": reply.score} if reply.score is not None else {}),
    }
