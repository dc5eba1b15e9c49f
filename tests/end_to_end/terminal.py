"""A terminal in a session, as JupyterLab opens one: over REST and a web socket."""

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor

from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from tests.end_to_end.rest import Client

MARK = re.compile(r"<<(.*?)>>", re.DOTALL)
"""Around what is read; in the line as it is typed, nothing but a format stands there."""


def run_in_terminal(person: Client, session: str, *commands: str) -> list[str]:
    """Return what each of COMMANDS prints in a new terminal of the session at the path SESSION."""
    opened = person.ask("POST", f"{session}api/terminals")
    assert opened.status == 200, opened
    name = opened.content["name"]
    address = f"{person.address.replace('http', 'ws', 1).rstrip('/')}{session}terminals/websocket/{name}"
    # Playwright's loop runs in this thread already.
    with ThreadPoolExecutor(1) as thread:
        printed = thread.submit(asyncio.run, _converse(address, person.token, commands)).result()
    person.ask("DELETE", f"{session}api/terminals/{name}")
    return printed


async def _converse(address: str, token: str, commands: tuple[str, ...]) -> list[str]:
    connection = await websocket_connect(HTTPRequest(address, headers={"Authorization": f"token {token}"}))
    printed = []
    for command in commands:
        await connection.write_message(json.dumps(["stdin", f"printf '\\074<%s>>' \"$({command} 2>&1)\"\r"]))
        shown = ""
        while not (found := MARK.search(shown)):
            message = await asyncio.wait_for(asyncio.ensure_future(connection.read_message()), 60)
            assert message, "the session went away"
            kind, *rest = json.loads(message)
            shown += rest[0] if kind == "stdout" else ""
        printed.append(found[1].replace("\r\n", "\n"))
    connection.close()
    return printed
