"""A service that is at work until somebody kills it, for tests: ``python -m tests.service.queue.killed FOLDER``.

It adds an environment after the other, each by a build with processes of its own, one of which leaves for a session of its
own; each writes numbered lines into the log, and then into a file of its own what it has written.
"""

import asyncio
import itertools
import sys
from pathlib import Path

from guix_build_service.model.environments import BuildState, NewEnvironment, Person
from guix_build_service.pipeline.job import Job
from guix_build_service.pipeline.output import written_to_log
from guix_environment.processes import run
from tests.service.scripted import scripted

WRITER = """
import os, pathlib, subprocess, sys, time
witness = pathlib.Path(sys.argv[1])
left = subprocess.Popen(["sleep", "600"], start_new_session=True)
with witness.open("a", buffering=1) as said:
    for number in range(20):
        line = f"{witness.name} {os.getpid()} {number}"
        os.write(1, f"{line}\\n".encode())
        said.write(f"{line}\\n")
        time.sleep(0.005)
left.kill()
left.wait()
"""


async def work(folder: Path) -> None:
    """Work in FOLDER until killed."""
    witnesses = folder / "witnesses"
    witnesses.mkdir(exist_ok=True)

    async def write(job: Job) -> None:
        command = [sys.executable, "-c", WRITER, str(witnesses / job.build)]
        environment = {**job.marks, "PATH": "/usr/bin:/bin"}
        async with written_to_log(job) as output:
            await run(command, environment=environment, timeout=600, output=output)

    async with scripted(folder, start=False) as (service, pipeline):
        pipeline.steps[BuildState.BUILDING] = write
        await service.queue.start()
        print("at work", flush=True)
        for number in itertools.count():
            request = NewEnvironment(f"https://forge.example/ada/plots-{number % 7}", name=f"{number}")
            try:
                detail = await service.manager.add_environment(request, Person("ada"))
                if number % 5 == 4:
                    await service.manager.delete_environment(detail.environment.id, Person("ada"))
                elif detail.build is not None and number % 3 == 2:
                    await service.finished(detail)
                elif number % 4 == 3:
                    await service.manager.start_build(detail.environment.id, Person("ada"), force=True)
            except Exception as error:  # whatever it is, the test is to see it
                print(f"failed: {error!r}", flush=True)
                raise


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1])))
