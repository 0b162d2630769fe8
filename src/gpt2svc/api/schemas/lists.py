"""Lists: one page of them, and how to ask for the next."""

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from gpt2svc.api.schemas.values import Text

T = TypeVar("T")

MAX_PAGE = 100
MAX_CURSOR_LENGTH = 512
MAX_SEARCH_LENGTH = 200  # characters, as the repository has it

Cursor = Annotated[Text, Field(min_length=1, max_length=MAX_CURSOR_LENGTH)]


class ListOut(BaseModel, Generic[T]):
    """Ask again with `cursor=<next_cursor>` for what follows."""

    data: list[T]
    has_more: bool
    next_cursor: str | None


class PageQuery(BaseModel):
    """Numbers come as text in a query, so this is not strict; unknown names are errors all the same."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=MAX_PAGE, description="Entries on a page.")
    cursor: Cursor | None = Field(None, description="`next_cursor` of the page before.")


class ConversationQuery(PageQuery):
    search: Annotated[Text, Field(max_length=MAX_SEARCH_LENGTH)] | None = Field(
        None,
        description="Only conversations whose title or messages hold this text, whatever its case.",
        examples=["поїзд"],
    )


class MessageQuery(PageQuery):
    limit: int = Field(MAX_PAGE, ge=1, le=MAX_PAGE, description="Entries on a page.")
