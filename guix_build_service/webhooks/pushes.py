"""What a delivery says: which branch or tag of which repository was pushed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qs

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from guix_build_service.webhooks.deliveries import Delivery, Forge
from guix_environment.errors import InvalidAddress, InvalidInput
from guix_environment.repository_url import RepositoryUrl

_BRANCH, _TAG = "refs/heads/", "refs/tags/"

_EVENTS: Mapping[Forge, tuple[str, frozenset[str]]] = {
    Forge.GITHUB: ("X-GitHub-Event", frozenset({"push"})),
    Forge.GITLAB: ("X-Gitlab-Event", frozenset({"Push Hook", "Tag Push Hook"})),
    Forge.GITEA: ("X-Gitea-Event", frozenset({"push"})),
    Forge.FORGEJO: ("X-Gitea-Event", frozenset({"push"})),
}
"""Which header tells what happened, and what it says of a push."""

_Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]


class _Repository(BaseModel):
    """A repository as forges describe it, each in some of these words."""

    model_config = ConfigDict(extra="ignore", strict=True)

    clone_url: _Text = ""
    html_url: _Text = ""
    git_http_url: _Text = ""
    web_url: _Text = ""
    ssh_url: _Text = ""
    git_ssh_url: _Text = ""
    default_branch: _Text = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        return (self.clone_url, self.git_http_url, self.html_url, self.web_url, self.ssh_url, self.git_ssh_url)


class _Body(BaseModel):
    """What of a delivery's body is read."""

    model_config = ConfigDict(extra="ignore", strict=True)

    ref: Annotated[str, Field(max_length=1000)]
    after: _Text = ""
    repository: _Repository = Field(default_factory=_Repository)
    project: _Repository | None = None
    """GitLab's own word, which tells more there than ``repository``."""


@dataclass(frozen=True, slots=True)
class Push:
    """A branch or a tag that became another commit's."""

    repositories: tuple[RepositoryUrl, ...]
    """The addresses that the forge has for the repository."""
    ref: str
    """In full, such as ``refs/heads/main``."""
    default_branch: str
    """Empty where the forge does not tell it."""
    deleted: bool

    def is_of(self, url: RepositoryUrl) -> bool:
        """Tell whether the repository at URL was pushed to, in whatever spelling forges take for the same one."""
        return _comparable(url) in {_comparable(each) for each in self.repositories}

    def moves(self, ref: str) -> bool:
        """Tell whether REF, empty for the default branch, stands for something else since."""
        if self.deleted:
            return False
        if not ref:
            default = self.default_branch
            return self.ref == f"{_BRANCH}{default}" if default else self.ref.startswith(_BRANCH)
        return self.ref in {ref, f"{_BRANCH}{ref}", f"{_TAG}{ref}"}


def push_of(delivery: Delivery) -> Push | None:
    """Return what DELIVERY, which is proved to be a forge's, says was pushed; None where it tells of something else.

    Raises `InvalidInput`.
    """
    header, events = _EVENTS[delivery.forge]
    if delivery.headers.get(header, "") not in events:
        return None
    try:
        body = _Body.model_validate_json(_json(delivery))
    except ValidationError as error:
        raise InvalidInput("This is no push of that forge's.", hint="Choose JSON as what the webhook sends.") from error
    repository = body.project or body.repository
    return Push(
        repositories=tuple(found for text in repository.addresses if (found := _address(text))),
        ref=body.ref,
        default_branch=repository.default_branch,
        deleted=not body.after.strip("0"),
    )


def _json(delivery: Delivery) -> bytes:
    """Return the JSON in DELIVERY, which GitHub and Gitea also send as the field of a form."""
    if delivery.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return delivery.body
    try:
        return parse_qs(delivery.body, max_num_fields=10).get(b"payload", [b""])[0]
    except ValueError:
        return b""


def _address(text: str) -> RepositoryUrl | None:
    try:
        return RepositoryUrl.parse(text)
    except InvalidAddress:
        return None


def _comparable(url: RepositoryUrl) -> tuple[str, str]:
    """Return what is the same of all addresses of one repository: forges know no case, and may be reached by two ways."""
    return url.host, url.path.removesuffix(".git").lower()
