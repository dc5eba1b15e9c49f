"""How far Guix is, from what it says.

Of a build that is what ``pipeline/scheme/building.scm`` tells of, in which builders have no part.  Of channels it is Guix's
own output: the lines are those of ``guix/ui.scm`` (``show-what-to-build``), ``guix/status.scm`` (``print-build-event``) and
``guix/channels.scm`` in Guix 1.5.0.  More comes up as Guix goes on, so the totals grow; what is not understood is passed
over.
"""

import re
from typing import Protocol

from guix_build_service.model.environments import Progress

_ITEM = re.compile(r"  (/gnu/store/[0-9a-z]{32}-\S+)")
_ANNOUNCEMENT = re.compile(r"(?:The following .* will be (?:built|grafted|downloaded)|[\d.,]+ .?B will be downloaded).*:")
_SUBSTITUTING = re.compile(r"substituting (/gnu/store/[0-9a-z]{32}-\S+?)\.\.\.")
_BUILT = re.compile(r"successfully built (/gnu/store/[0-9a-z]{32}-\S+\.drv)")
_BUILDING = re.compile(r"building (.+?)\.\.\.$")
_CHANNEL = re.compile(r"(Updating|Authenticating) channel '([^']{1,64})'")
_HASH = re.compile(r"/gnu/store/[0-9a-z]{32}-")

_WORD = r"(?P<item>/gnu/store/[0-9a-z]{32}-[0-9A-Za-z+._?=-]{1,211})"
_HAPPENING = re.compile(
    rf"(?P<what>[a-z-]{{1,30}}) {_WORD}(?: (?P<size>-|[0-9]{{1,15}}))?(?: (?P<transferred>[0-9]{{1,15}}))?"
)


class Reader(Protocol):
    """Follows what Guix says."""

    @property
    def progress(self) -> Progress:
        """How far it is now."""

    def feed(self, text: str) -> None:
        """Take in TEXT, one or more whole lines, in order."""


class HappeningsReader:
    """Follows what ``building.scm`` tells of one build.

    A download counts by the size that was told before, and by what its server says once it comes; one that was not planned
    and of which neither is told, by what has come.
    """

    def __init__(self) -> None:
        """Begin before anything is known."""
        self._steps: set[str] = set()
        self._done: set[str] = set()
        self._sizes: dict[str, int] = {}
        self._transferred: dict[str, int] = {}
        self._phase = self._item = ""

    @property
    def progress(self) -> Progress:
        """How far it is now."""
        came = (
            size if item in self._done else min(self._transferred.get(item, 0), size) for item, size in self._sizes.items()
        )
        return Progress(self._phase, len(self._done), len(self._steps), sum(came), sum(self._sizes.values()), self._item)

    def feed(self, text: str) -> None:
        """Take in TEXT, one or more whole lines, in order."""
        for line in text.splitlines():
            if found := _HAPPENING.fullmatch(line):
                size, transferred = found["size"], int(found["transferred"] or 0)
                self._happened(found["what"], found["item"], int(size) if size and size != "-" else None, transferred)

    def _happened(self, what: str, item: str, size: int | None, transferred: int) -> None:
        match what:
            case "to-download":
                self._steps.add(item)
                self._sizes[item] = size or 0
            case "to-build":
                self._steps.add(item)
            case "substituter-started":
                self._begin("Downloading", item)
            case "build-started":
                self._begin("Building", item)
            case "download-progress":
                self._transferred[item] = transferred
                self._sizes[item] = size if size is not None else max(self._sizes.get(item, 0), transferred)
            case "substituter-succeeded" | "build-succeeded":
                self._steps.add(item)
                self._done.add(item)
            case "substituter-failed":
                # What has no substitute after all is built, which is announced, or the build fails.
                self._steps.discard(item)
                self._sizes.pop(item, None)

    def _begin(self, doing: str, item: str) -> None:
        self._steps.add(item)
        self._item = _name(item)
        self._phase = f"{doing} {self._item}"


class OutputReader:
    """Follows what Guix prints while it makes the Guix of channels."""

    def __init__(self) -> None:
        self._announced: set[str] = set()
        self._done: set[str] = set()
        self._downloading = ""
        self._in_announcement = False
        self._phase = ""

    @property
    def progress(self) -> Progress:
        """How far it is now."""
        return Progress(self._phase, len(self._done), len(self._announced | self._done))

    def feed(self, text: str) -> None:
        """Take in TEXT, one or more whole lines."""
        for line in text.splitlines():
            self._feed_line(line)

    def _feed_line(self, line: str) -> None:
        if self._in_announcement and (item := _ITEM.match(line)):
            self._announced.add(item[1])
            return
        self._in_announcement = bool(_ANNOUNCEMENT.match(line))
        if match := _SUBSTITUTING.match(line):
            self._finish_download()
            self._downloading = match[1]
            self._phase = f"Downloading {_name(match[1])}"
        elif match := _BUILT.match(line):
            self._finish_download()
            self._done.add(match[1])
        elif match := _BUILDING.match(line):
            self._finish_download()
            self._phase = f"Building {_name(match[1])}"
        elif match := _CHANNEL.match(line):
            self._phase = f"{match[1]} channel {match[2]}"

    def _finish_download(self) -> None:
        # Guix does not say that a download is complete; the next thing that happens does.
        if self._downloading:
            self._done.add(self._downloading)
            self._downloading = ""


def _name(item: str) -> str:
    return _HASH.sub("", item).removesuffix(".drv")[:120]
