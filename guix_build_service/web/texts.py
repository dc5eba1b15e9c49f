"""Long texts, of which a part can be asked for."""

import re
from collections.abc import AsyncIterator
from http import HTTPStatus

from guix_build_service.web.answers import AnsweringHandler
from guix_build_service.web.refusals import RangeRefused

_RANGE = re.compile(r"bytes=(?P<first>[0-9]{0,15})-(?P<last>[0-9]{0,15})")


class TextAnswers(AnsweringHandler):
    """Answers with texts that nobody here wrote."""

    async def give_text(self, pieces: AsyncIterator[bytes]) -> None:
        """Answer with the text that PIECES yield, or with the range of it that the request asks for."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("Content-Security-Policy", "sandbox; default-src 'none'; frame-ancestors 'none'")
        self.set_header("Accept-Ranges", "bytes")
        if "Range" not in self.request.headers:
            async for piece in pieces:
                self.write(piece)
                await self.flush()
            return
        # A range is of what is answered without one; what lies on disk is longer, so that it is read from its start.
        text = b"".join([piece async for piece in pieces])
        wanted = wanted_range(self.request.headers["Range"], len(text))
        if wanted is not None:
            self.set_status(HTTPStatus.PARTIAL_CONTENT)
            self.set_header("Content-Range", f"bytes {wanted.start}-{wanted.stop - 1}/{len(text)}")
            text = text[wanted.start : wanted.stop]
        self.write(text)

    def write_error(self, status_code: int, **kwargs: object) -> None:
        """Tell how long the text is when a range lies behind its end (RFC 9110, 15.5.17)."""
        error = kwargs["exc_info"][1] if isinstance(kwargs.get("exc_info"), tuple) else None  # type: ignore[index] # a tuple
        if isinstance(error, RangeRefused):
            self.set_header("Content-Range", f"bytes */{error.details['size']}")
        super().write_error(status_code, **kwargs)


def wanted_range(header: str, size: int) -> range | None:
    """Return the bytes that a Range HEADER asks for of SIZE bytes, or None for all of them.

    One range of bytes is understood; several, or another unit, may be answered with everything (RFC 9110, 14.2). Raises
    `RangeRefused` when it begins behind the end.
    """
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if match is None or not (match["first"] or match["last"]):
        return None
    if match["first"]:
        first = int(match["first"])
        last = min(int(match["last"]) if match["last"] else size - 1, size - 1)
        if match["last"] and int(match["last"]) < first:
            return None
    else:
        first, last = max(size - int(match["last"]), 0), size - 1
    if first > last:
        raise RangeRefused("The log is not that long.", details={"size": size})
    return range(first, last + 1)
