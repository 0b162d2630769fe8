"""The error envelope on the wire."""

from pydantic import BaseModel, Field


class ErrorBody(BaseModel):
    message: str = Field(description="For people: names the field and the limit.")
    type: str = Field(description="The kind of error, e.g. `invalid_request_error`.")
    param: str | None = Field(description="The field at fault, where it is one.")
    code: str = Field(description="The error, for programs: stable.")


class ErrorOut(BaseModel):
    error: ErrorBody
