"""What the API's JSON is made of: texts that a person could have meant, and the two kinds of bodies."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from guix_build_service.model.environments import LARGEST_PAGE
from guix_environment.identifiers import EnvironmentId, VersionId


def _printable(text: str) -> str:
    """Return TEXT if a person could have meant every character of it."""
    if any(not character.isprintable() and character not in "\n\t" for character in text):
        raise ValueError("has characters that cannot be shown")
    return text.strip()


def _on_one_line(text: str) -> str:
    if "\n" in text or "\t" in text:
        raise ValueError("must be on one line")
    return _printable(text)


def formed(pattern: str) -> dict[str, str]:
    """Return what the description of a text says, all of which has the form of PATTERN; it is refused in our own words."""
    return {"pattern": f"^({pattern})$"}


Line = Annotated[str, AfterValidator(_on_one_line), Field(json_schema_extra=formed(r"[^\x00-\x1f\x7f-\x9f]*"))]
Paragraph = Annotated[str, AfterValidator(_printable)]

Ref = Annotated[Line, Field(max_length=200, description="Branch, tag or commit; empty for the repository's default branch.")]
EnvironmentName = Annotated[str, Field(json_schema_extra=formed(EnvironmentId.form.pattern))]
VersionName = Annotated[str, Field(json_schema_extra=formed(VersionId.form.pattern))]
Memory = Annotated[int, Field(ge=1 << 26, le=1 << 44, description="Bytes that a session may use.")]
Cpu = Annotated[float, Field(gt=0, le=4096, description="Cores that a session may use.")]


class Incoming(BaseModel):
    """A request's body: exactly these fields, of exactly these types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Outgoing(BaseModel):
    """An answer's body."""

    model_config = ConfigDict(frozen=True)


class PageQuery(Incoming):
    """Which part of a list is wanted."""

    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE, description="The most entries.")] = 100
    cursor: Annotated[str, Field(max_length=2000, description="Where to go on: `next` of the part before.")] | None = None


class PartAnswer(Outgoing):
    """A part of a list."""

    next: str | None = Field(description="The `cursor` of the next part; null when this is the last one.")


class Refusal(Outgoing):
    """Why something was not done; further fields are details for programs."""

    model_config = ConfigDict(frozen=True, extra="allow")

    code: str = Field(description="Stable from one release to the next.", examples=["not-found"])
    message: str = Field(description="What happened, for people.", examples=["There is nothing here."])
    hint: str | None = Field(default=None, description="What to do about it, for people.")


class ErrorAnswer(Outgoing):
    """A refusal."""

    error: Refusal
