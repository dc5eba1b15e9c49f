"""The processes that a mark in their environment tells of, in tests of what is left running."""

from guix_environment.process_identity import ProcessIdentity, marked


def marked_with(name: str, value: str) -> list[ProcessIdentity]:
    """Return the processes of ours that started with the variable NAME set to VALUE, as `marked` finds them."""
    return [process for process, variables in marked(name).items() if variables[name] == value]
