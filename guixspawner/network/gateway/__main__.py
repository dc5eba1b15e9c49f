"""Run the gateway of a folder: ``python -m guixspawner.network.gateway FOLDER``; the hub starts it, with ``--detach``."""

import asyncio
import logging
import os
import resource
import sys
from pathlib import Path

from guixspawner.network.gateway.process import Gateway, OneIsThere
from guixspawner.network.gateway.settings import GatewaySettings


def main(folder: Path) -> int:
    """Run until it ends by itself, and return the exit status: 0, also where another gateway was faster."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # Every session has connections through here.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        asyncio.run(_run(folder))
    except OneIsThere:
        logging.getLogger(__name__).info("There is a gateway already.")
    return 0


def detach() -> None:
    """Go on as nobody's child, in a session of its own; the process that was started ends at once."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        # Until the other one has left this process group, which may be ended with this process.
        os.read(reading, 1)
        os._exit(0)
    os.setsid()
    os.close(reading)
    os.close(writing)


async def _run(folder: Path) -> None:
    await Gateway(folder, GatewaySettings.read(folder)).run()


if __name__ == "__main__":
    if "--detach" in sys.argv[2:]:
        detach()
    sys.exit(main(Path(sys.argv[1])))
