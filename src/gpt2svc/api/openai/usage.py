"""What a request cost, and what stands on every answer."""

import secrets
import time
from typing import Any

from gpt2svc.completions.completion import Completion
from gpt2svc.completions.result import CompletionResult


def usage_of(completion: Completion, result: CompletionResult) -> dict[str, Any]:
    """A prompt counts once, however many texts go on from it; all sampled tokens count, those of best_of included."""
    num_prompt = completion.facts.num_prompt_tokens + result.num_suffix_tokens
    num_completion = result.num_completion_tokens
    return {
        "prompt_tokens": num_prompt,
        "completion_tokens": num_completion,
        "total_tokens": num_prompt + num_completion,
        "prompt_tokens_details": {"cached_tokens": result.num_cached_tokens},
    }


def head_of(completion: Completion, *, prefix: str, kind: str) -> dict[str, Any]:
    """The fields that all chunks of a stream share."""
    return {
        "id": f"{prefix}-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": completion.facts.model,
        "system_fingerprint": f"fp_{completion.facts.revision}",
    }
