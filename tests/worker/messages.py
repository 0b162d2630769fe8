"""Strategies for the messages between the API process and a worker, and short-hands to make them."""

from dataclasses import replace

from hypothesis import strategies as st

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import (
    EngineRequest,
    EngineStats,
    Hypothesis,
    ModelInfo,
    NextToken,
    Pooling,
    Scoring,
    TokenLogprobs,
    TokenOutput,
)
from gpt2svc.worker.messages import Abort, Failed, Loading, Located, Outputs, Ready, Shutdown, Start, Submit
from gpt2svc.worker.options import WorkerOptions

texts = st.text(max_size=20)  # lone surrogates included: an error's text may quote anything
counts = st.integers(0, 2**63 - 1)
floats = st.floats(allow_nan=False)  # infinite ones included: a filtered token's log-probability is one
token_ids = st.lists(st.integers(0, 2**31 - 1), max_size=8).map(tuple)
pairs = st.lists(st.tuples(st.integers(0, 2**31 - 1), floats), max_size=4).map(tuple)

params = st.builds(
    SamplingParams,
    seed=counts,
    max_new_tokens=st.integers(1, 1023),
    temperature=floats,
    top_p=floats,
    logit_bias=pairs,
    stop_token_ids=token_ids,
    logprobs=st.none() | st.integers(0, 20),
    num_beams=st.integers(1, 32),
    early_stopping=st.sampled_from([True, False, "never"]),
    num_return_sequences=st.integers(1, 32),
)
scorings = st.builds(Scoring, counts, counts, st.none() | counts, st.booleans())
poolings = st.builds(Pooling, st.sampled_from(["mean", "last"]), st.booleans())
requests = st.builds(EngineRequest, texts, token_ids, params, texts, counts, st.none() | scorings, st.none() | poolings)
logprobs = st.none() | st.lists(st.builds(TokenLogprobs, floats, pairs), max_size=3).map(tuple)
finish_reasons = st.sampled_from([None, "stop", "length", "abort", "error"])
token_outputs = st.builds(TokenOutput, texts, token_ids, logprobs, finish_reasons, st.none() | texts, counts)
next_tokens = st.builds(NextToken, pairs, floats, floats, st.none() | st.binary(max_size=20))
scored_outputs = st.builds(
    replace,
    token_outputs,
    prompt_logprobs=st.lists(st.builds(TokenLogprobs, floats, pairs), max_size=3).map(tuple),
    next_token=st.none() | next_tokens,
)
pooled_outputs = st.builds(replace, token_outputs, pooled=st.binary(max_size=20))
hypotheses = st.builds(Hypothesis, token_ids, floats, st.sampled_from(["stop", "length"]), logprobs)
beam_outputs = st.builds(replace, token_outputs, hypotheses=st.lists(hypotheses, max_size=3).map(tuple))
outputs = token_outputs | scored_outputs | pooled_outputs | beam_outputs
stats = st.builds(EngineStats, counts, counts, counts, counts, counts, counts)
infos = st.builds(
    ModelInfo,
    name=texts,
    revision=texts,
    architecture=st.just("gpt2"),
    device=texts,
    dtype=texts,
    num_parameters=counts,
    n_positions=counts,
    vocab_size=counts,
    n_layer=counts,
    n_head=counts,
    n_embd=counts,
    num_slots=counts,
    eos_token_id=st.none() | counts,
    memory_bytes=counts,
)
options = st.builds(
    WorkerOptions,
    model=texts,
    models_dir=texts,
    hub_endpoint=st.none() | texts,
    engine=st.builds(EngineConfig, max_num_seqs=st.integers(1, 64), num_threads=st.none() | st.integers(1, 8)),
    cpus=st.lists(st.integers(0, 64), max_size=3).map(tuple),
    niceness=st.integers(0, 19),
)
messages = st.one_of(
    st.builds(Start, options),
    st.builds(Submit, requests),
    st.builds(Abort, texts),
    st.just(Shutdown()),
    st.builds(Loading, st.sampled_from(["downloading", "loading"]), texts, st.none() | floats),
    st.just(Located()),
    st.builds(Ready, infos, stats),
    st.builds(Failed, texts, texts),
    st.builds(Outputs, st.lists(outputs, max_size=4).map(tuple), stats),
)


def request(
    request_id: str = "a", *, max_new_tokens: int = 3, owner: str = "", prompt: tuple[int, ...] = (1, 2, 3)
) -> EngineRequest:
    return EngineRequest(request_id, prompt, SamplingParams(seed=1, max_new_tokens=max_new_tokens), owner)
