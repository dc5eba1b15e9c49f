"""A kernel at work that nobody hears of."""

import asyncio
import json

from tests.spawner.real_hub import RealHub, connected, execute_request


async def compute_in_silence(hub: RealHub, user: str) -> None:
    """Have a new kernel of the person USER compute in silence, for hours; return once it does and nobody listens."""
    status, text = await asyncio.to_thread(hub.request, "POST", f"/user/{user}/api/kernels", {"name": "python3"})
    assert status == 201, text
    address = f"{hub.address.replace('http', 'ws')}/user/{user}/api/kernels/{json.loads(text)['id']}/channels"
    connection = await connected(address)
    await connection.write_message(json.dumps(execute_request("import time; time.sleep(9999)")))
    # The last that it says before it falls silent: the words that it was given.
    while (message := await connection.read_message()) is not None:
        if json.loads(message)["msg_type"] == "execute_input":
            connection.close()
            return
    raise AssertionError("the other side went away")
