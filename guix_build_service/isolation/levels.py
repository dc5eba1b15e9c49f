"""Levels of isolation, and what each needs of the machine and of its configuration.  All of this is pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from guix_environment.errors import Refused


class Level(IntEnum):
    """For whom an installation is good enough; each level needs what those below it need."""

    ALONE = 0
    """One person, or people who could as well share an account."""
    TEAM = 1
    """People who trust each other, and not every repository that they use."""
    PEOPLE = 2
    """People who need not know each other, and whom the administrator knows."""
    STRANGERS = 3
    """Anybody who can log in."""

    @property
    def word(self) -> str:
        """The level as it is configured and shown."""
        return self.name.lower()

    @property
    def for_whom(self) -> str:
        """For whom it is good enough."""
        return _FOR_WHOM[self]


_FOR_WHOM: Mapping[Level, str] = {
    Level.ALONE: "one person, or people who could as well share an account",
    Level.TEAM: "people who trust each other, and not every repository that they use",
    Level.PEOPLE: "people who need not know each other, and whom you know",
    Level.STRANGERS: "anybody who can log in",
}


class State(StrEnum):
    """Whether something is so."""

    HELD = "held"
    MISSING = "missing"
    UNKNOWN = "unknown"
    """It could not be found out, which counts as missing."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found out about this machine."""

    root: bool
    """Whether the service runs as root."""
    containers: str
    """Why this account cannot make containers with networks and filters of their own; empty where it can."""
    controllers: frozenset[str]
    """What the kernel's cgroups can bound, of any version."""
    daemon: tuple[str, ...] | None
    """The words of the command line of Guix's daemon, or None where none is seen."""
    guix: str
    """What Guix says of its version; empty where it says nothing."""
    guix_is_mended: bool
    """Whether the administrator says that its published holes are closed."""
    folder_open: bool
    """Whether other accounts may enter the service's folder."""
    evaluates: bool
    """Whether any manifests are run."""
    evaluates_apart: bool
    """Whether they are run as another account than the service's."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a level needs."""

    name: str
    level: Level
    """The lowest level that needs it."""
    state: State
    said: str
    """What was found, as a sentence."""
    remedy: str = ""
    """What to do about it."""

    def as_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "name": self.name,
            "level": self.level.word,
            "state": self.state.value,
            "said": self.said,
            "remedy": self.remedy,
        }


MENDED = "897832f374dc"
"""The commit of Guix by which the holes of ``guix substitute`` that were published in July 2026 are closed."""

_NEEDED_CONTROLLERS = frozenset({"memory", "pids"})
_RELEASE = re.compile(r"guix \(GNU Guix\) (\d+)\.(\d+)(?:\.(\d+))?(?![0-9a-f])")
_LAST_WITH_HOLES = (1, 5, 0)


def findings(facts: Facts) -> Sequence[Finding]:
    """Return all that any level needs, the lowest level first."""
    return [
        _containers(facts),
        _builds(facts),
        _rights(facts),
        _bounds(facts),
        _folder(facts),
        _version(facts),
        _loopback(facts),
        _manifests(facts),
    ]


def reached(found: Sequence[Finding]) -> Level:
    """Return the highest level all of whose needs FOUND says are met."""
    lacking = [finding.level for finding in found if finding.state is not State.HELD]
    return Level(min(lacking) - 1) if lacking else max(Level)


@dataclass(frozen=True, slots=True)
class Report:
    """How well people are kept apart, and how well they were to be."""

    findings: Sequence[Finding]
    wanted: Level

    @property
    def reached(self) -> Level:
        """The highest level that is reached."""
        return reached(self.findings)

    def needed_by(self, level: Level) -> Sequence[Finding]:
        """Return what LEVEL needs beyond the levels below it."""
        return [finding for finding in self.findings if finding.level is level]


def check(wanted: Level, found: Sequence[Finding]) -> None:
    """Return where FOUND says that WANTED is reached; else raise `Refused` with all that is lacking."""
    lacking = [finding for finding in found if finding.level <= wanted and finding.state is not State.HELD]
    if lacking:
        sentences = " ".join(f"{finding.said} {finding.remedy}".strip() for finding in lacking)
        raise Refused(
            f"The isolation {wanted.word} was asked for and cannot be had here.",
            hint=sentences,
            details={"findings": [finding.as_json() for finding in lacking]},
        )


def _containers(facts: Facts) -> Finding:
    if facts.containers:
        return Finding(
            "containers",
            Level.TEAM,
            State.MISSING,
            f"This account cannot make containers: {facts.containers}",
            "Allow ordinary accounts user namespaces, and install libseccomp2.",
        )
    said = "Containers with users, processes, files and a network of their own can be made, and system calls filtered."
    return Finding("containers", Level.TEAM, State.HELD, said)


def _builds(facts: Facts) -> Finding:
    name, level = "builds", Level.TEAM
    if facts.daemon is None:
        return Finding(name, level, State.UNKNOWN, "Guix's daemon is not seen.", "Start it, on this machine: guix-daemon.")
    if "--disable-chroot" in facts.daemon:
        return Finding(
            name,
            level,
            State.MISSING,
            "Guix's daemon lets what it builds see the machine (--disable-chroot).",
            "Start it without that option.",
        )
    return Finding(name, level, State.HELD, "Guix's daemon keeps what it builds apart from the machine.")


def _rights(facts: Facts) -> Finding:
    name, level = "rights", Level.PEOPLE
    if facts.root:
        return Finding(
            name,
            level,
            State.MISSING,
            "The service runs as root, whom Guix's daemon believes everything.",
            'Give it an account: configure(c, service_account="guix-build-service").',
        )
    return Finding(name, level, State.HELD, "The service runs as an ordinary account.")


def _bounds(facts: Facts) -> Finding:
    name, level = "bounds", Level.PEOPLE
    lacking = sorted(_NEEDED_CONTROLLERS - facts.controllers)
    if lacking:
        return Finding(
            name,
            level,
            State.MISSING,
            f"The kernel's cgroups do not bound {' and '.join(lacking)} here.",
            "Start the machine with cgroups of version 2, as every recent distribution does.",
        )
    said = "The kernel can bound memory and processes of a session; the hub says at its start by what it does."
    return Finding(name, level, State.HELD, said)


def _folder(facts: Facts) -> Finding:
    name, level = "folder", Level.PEOPLE
    if facts.folder_open:
        return Finding(name, level, State.MISSING, "Other accounts may enter the service's folder.", "Close it: chmod 700.")
    return Finding(name, level, State.HELD, "The service's folder is closed to other accounts.")


def _version(facts: Facts) -> Finding:
    name, level = "guix", Level.PEOPLE
    match = _RELEASE.match(facts.guix)
    if facts.guix_is_mended:
        return Finding(name, level, State.HELD, "The administrator says that Guix's published holes are closed.")
    if match:
        version = tuple(int(part or 0) for part in match.groups())
        if version <= _LAST_WITH_HOLES:
            return Finding(
                name,
                level,
                State.MISSING,
                f"Guix {'.'.join(map(str, version))} has published holes in guix substitute.",
                f"Use one with commit {MENDED} or later, such as by: guix pull",
            )
        return Finding(name, level, State.HELD, "Guix is a release without holes that are known here.")
    return Finding(
        name,
        level,
        State.UNKNOWN,
        f"Guix calls itself {facts.guix:.80}, which does not tell how old it is." if facts.guix else "Guix does not answer.",
        f"See that it has commit {MENDED}, which closes holes of guix substitute, and say so: Isolation.guix_is_mended.",
    )


def _loopback(facts: Facts) -> Finding:
    name, level = "downloads", Level.STRANGERS
    if facts.daemon is None:
        return Finding(name, level, State.UNKNOWN, "Guix's daemon is not seen.", "Start it, on this machine: guix-daemon.")
    if "--isolate-host-loopback" not in facts.daemon:
        return Finding(
            name,
            level,
            State.MISSING,
            "What Guix's daemon downloads while it builds can reach services of this machine.",
            "Start it with --isolate-host-loopback.",
        )
    return Finding(
        name, level, State.HELD, "What Guix's daemon downloads while it builds cannot reach this machine's services."
    )


def _manifests(facts: Facts) -> Finding:
    name, level = "manifests", Level.STRANGERS
    if facts.evaluates and not facts.evaluates_apart:
        return Finding(
            name,
            level,
            State.MISSING,
            "Manifests are run as the service's own account.",
            "Let none be run: ManifestEvaluation.repositories, groups, building_repositories and building_groups.",
        )
    said = "Manifests are run as an account of their own." if facts.evaluates else "No manifest is run."
    return Finding(name, level, State.HELD, said)
