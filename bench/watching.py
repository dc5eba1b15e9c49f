"""Many who watch one build, in a process of their own: ``python -m bench.watching PORT PATH TOKEN WATCHERS LINES``.

Says ``all connected`` once all are, and in the end how many got every line in order.
"""

import asyncio
import json
import re
import sys

_LINE = re.compile(r"^line (\d+) of ", re.MULTILINE)


async def watch(port: int, path: str, token: str, connected: asyncio.Semaphore) -> list[int]:
    """Return the numbers of the lines that one watcher got, in order."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=64 * 1024 * 1024)
    # Without the pieces that a later HTTP puts a stream into.
    writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: token {token}\r\n\r\n".encode())
    while (await reader.readline()).strip():
        pass
    connected.release()
    found: list[int] = []
    event = b""
    while line := await reader.readline():
        if line.startswith(b"event: "):
            event = line[7:].strip()
        elif line.startswith(b"data: ") and event == b"log":
            found += map(int, _LINE.findall(json.loads(line[6:])["text"]))
    writer.close()
    return found


async def main(port: int, path: str, token: str, watchers: int, lines: int) -> None:
    """Watch, and tell."""
    connected = asyncio.Semaphore(0)
    watching = [asyncio.create_task(watch(port, path, token, connected)) for _ in range(watchers)]
    for _ in range(watchers):
        await connected.acquire()
    print("all connected", flush=True)
    wanted = list(range(lines))
    complete = sum(found == wanted for found in await asyncio.gather(*watching))
    print(json.dumps({"complete": complete}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
