"""A person at the pages of a real hub."""

from collections.abc import Mapping
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

from tests.spawner.real_hub import PATIENCE, RealHub


class Visitor:
    """A person's browser, as far as cookies and forms go."""

    def __init__(self, hub: RealHub, user: str) -> None:
        self.address = hub.address
        self._cookies = CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self._cookies))
        self.open("/hub/login")
        self.open("/hub/login", {"username": user, "password": "any"})

    def open(self, path: str, fields: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Return the status and text of a page, wherever it leads to; FIELDS are sent as by a form of the hub."""
        body = None
        if fields is not None:
            [token] = [cookie.value or "" for cookie in self._cookies if cookie.name == "_xsrf"]
            body = urlencode({"_xsrf": token, **fields}).encode()
        try:
            with self._opener.open(Request(self.address + path, body), timeout=120 * PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
