"""The one error that guixlab raises, with the exit codes it ends with."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of ``python3 -m guixlab``, stable; those of a COMMAND are passed on as they are."""

    FAILED = 1
    USAGE = 2
    NOT_ROOT = 10
    NO_USER_NAMESPACES = 11
    DISK_FULL = 12
    NO_ARCHIVE = 13
    DAEMON_SILENT = 14
    NOT_PROVISIONED = 15
    MISSING_PROGRAM = 16
    STAND_INS_FAILED = 17


class LabError(Exception):
    """Something a person has to know: one sentence saying what happened and what to do."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
