"""Parameters of OpenAI's interface that mean nothing to a text model: which values of them pass, and which are refused.

Nothing is ignored in silence. A parameter is honoured (the request schemas have it, with its limits); or it passes at
values that ask for nothing (`tools: []`), or because it asks nothing of the text (`user`); or the request is
answered with 400 and the parameter's name. The table at `GET /v1/models/{id}` and docs/openai.md are made from here.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from gpt2svc.api.schemas.values import RequestBody, Text

# Refused whatever their value but null: known by name, so that the answer can say "not supported".
UNSUPPORTED: frozenset[str] = frozenset(
    {
        "audio",
        "prediction",
        "web_search_options",
        "reasoning_effort",
        "reasoning",
        "verbosity",
        "moderation",
        "suffix",
        "prompt_cache_retention",
        "guided_json",
        "guided_regex",
        "guided_choice",
        "guided_grammar",
        "structured_outputs",
        "use_beam_search",
        "conversation",
        "max_tool_calls",
        "context_management",
        "background_options",
        "prompt_cache_options",
        "access_programs",
        "image",
    }
)

Label = Annotated[Text, Field(max_length=512)]
EmptyList = Annotated[list[Any], Field(max_length=0)]


class TextFormat(RequestBody):
    type: Literal["text"]


class StreamOptions(RequestBody):
    include_usage: bool | None = Field(
        None, description="One more chunk at the end, with `choices: []` and the whole request's usage."
    )
    include_obfuscation: Literal[False] | None = Field(None, description="Only false: nothing is padded here.")


class LabelFields(RequestBody):
    """Labels of the request: they ask nothing of the text."""

    user: Label | None = Field(None, description="Accepted; nothing depends on it.")
    metadata: dict[str, Label] | None = Field(
        None, max_length=16, description="Accepted; nothing depends on it, and nothing is stored."
    )


class NeutralFields(LabelFields):
    """Parameters of chats that pass at values which ask for nothing."""

    safety_identifier: Label | None = Field(None, description="Accepted; nothing depends on it.")
    prompt_cache_key: Label | None = Field(None, description="Accepted; prefixes are found without it.")
    store: Literal[False] | None = Field(None, description="Only false: nothing is stored here.")
    tools: EmptyList | None = Field(None, description="Only []: these models can't call tools.")
    tool_choice: Literal["none", "auto"] | None = Field(None, description="Only none or auto, as there are no tools.")
    parallel_tool_calls: bool | None = Field(None, description="Accepted, as there are no tools.")
    functions: EmptyList | None = Field(None, description="Only []: these models can't call functions.")
    function_call: Literal["none", "auto"] | None = Field(
        None, description="Only none or auto, as there are no functions."
    )
    response_format: TextFormat | None = Field(None, description='Only {"type": "text"}.')
    modalities: Annotated[list[Literal["text"]], Field(max_length=1)] | None = Field(None, description='Only ["text"].')
    service_tier: Literal["auto", "default"] | None = Field(None, description="Only auto or default: there is one.")


PASSING: frozenset[str] = frozenset(NeutralFields.model_fields)
