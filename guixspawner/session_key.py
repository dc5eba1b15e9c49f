"""Which session of which person: what its files, links, folders and control groups are named after."""

from dataclasses import dataclass
from typing import Self

from guix_environment.session_names import server_slug, slug


@dataclass(frozen=True, slots=True, order=True)
class SessionKey:
    """Which session of which person: both names as they are in paths."""

    person: str
    server: str

    @classmethod
    def of(cls, user_name: str, server_name: str) -> Self:
        """Return the session of the server SERVER_NAME of the person USER_NAME, as the hub names both."""
        return cls(slug(user_name), server_slug(server_name))

    @classmethod
    def within(cls, name: str) -> Self | None:
        """Return the session that NAME, of a lease, a folder or a control group, belongs to; None for another name."""
        parts = name.split(".")
        # No slug holds a dot; a lease has its kind as a third part.
        return cls(parts[0], parts[1]) if len(parts) in {2, 3} and all(parts) else None

    def __str__(self) -> str:
        """Return the key as it stands in those names."""
        return f"{self.person}.{self.server}"
