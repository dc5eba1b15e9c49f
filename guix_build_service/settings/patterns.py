"""Patterns of repositories in the configuration: one that could never count is a mistake, which is said at the start."""

from collections.abc import Sequence

from traitlets import TraitError

from guix_build_service.git.choice import checked_pattern
from guix_environment.errors import InvalidInput


def checked_patterns(patterns: Sequence[str]) -> list[str]:
    """Return PATTERNS if each can be that of a host or an address, else raise `TraitError` with what to write instead."""
    try:
        return [checked_pattern(pattern) for pattern in patterns]
    except InvalidInput as error:
        raise TraitError(f"{error.message} {error.hint}") from None
