"""Whether the service can do its work."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Health:
    """What keeps the service from its work, each in a sentence that is empty where nothing does."""

    store: str = ""
    """Why its database cannot be used."""
    queue: str = ""
    """Why no build begins."""
    retention: str = ""
    """Why nothing is let go for its age, which keeps nobody from working."""
    logins: str = ""
    """Why the tokens of people's logins cannot be read, without which people keep tokens of their own."""

    @property
    def status(self) -> str:
        """Return ``ok`` or ``failing``."""
        return "failing" if self.store or self.queue else "ok"
