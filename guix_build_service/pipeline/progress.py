"""How far Guix is, from what `guix build` writes.

The lines are those of ``guix/ui.scm`` (``show-what-to-build``), ``guix/status.scm`` (``print-build-event``) and
``guix/channels.scm`` in Guix 1.5.0.  Guix announces more as it goes, so the total grows; what is not understood is passed
over.
"""

import re

from guix_build_service.model.environments import Progress

_ITEM = re.compile(r"  (/gnu/store/[0-9a-z]{32}-\S+)")
_ANNOUNCEMENT = re.compile(r"(?:The following .* will be (?:built|grafted|downloaded)|[\d.,]+ .?B will be downloaded).*:")
_SUBSTITUTING = re.compile(r"substituting (/gnu/store/[0-9a-z]{32}-\S+?)\.\.\.")
_BUILT = re.compile(r"successfully built (/gnu/store/[0-9a-z]{32}-\S+\.drv)")
_BUILDING = re.compile(r"building (.+?)\.\.\.$")
_CHANNEL = re.compile(r"(Updating|Authenticating) channel '([^']{1,64})'")
_HASH = re.compile(r"/gnu/store/[0-9a-z]{32}-")


class ProgressReader:
    """Follows one build's output; feed it whole lines in order."""

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
