"""BinderHub's own client from npm, run in Node."""

import asyncio
import json
import os
import sys
from pathlib import Path

NODE = Path(sys.executable).with_name("node")
PROGRAM = Path(__file__).with_suffix(".mjs")


async def follow(endpoint: str, spec: str, token: str, *, build_only: bool = False) -> list[dict[str, object]]:
    """Return the events that the client tells of SPEC at the build ENDPOINT, up to the one that ends it."""
    process = await asyncio.create_subprocess_exec(
        *(str(NODE), str(PROGRAM), endpoint, spec, *(["only"] if build_only else [])),
        env={"PATH": os.environ["PATH"], "TOKEN": token},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return [json.loads(line) for line in output.splitlines()]
