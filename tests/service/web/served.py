"""The service as a process of its own over the scripted pipeline, as the hub starts it.

Its folder is ``SERVED_FOLDER``; two environments of ada's are there from the start, one of them for everyone. Slow builds
end once there is a file ``release`` in the folder.
"""

import asyncio
import os
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from guix_build_service.model.environments import NewEnvironment, Person
from guix_build_service.settings.isolation import Isolation
from guix_build_service.web.application import make_application, make_server
from guix_build_service.web.secret_file import read_or_make_secret
from guix_build_service.web.settings import WebSettings, shared_folder
from guix_environment.guix_command import GuixCommand
from guix_environment.records import Visibility
from tests.service.web.scripted import running_manager


async def serve(folder: Path) -> None:
    settings = WebSettings.from_environment(
        os.environ,
        cookie_secret=read_or_make_secret(folder / "cookie-secret"),
        templates=shared_folder("templates/service"),
        static=shared_folder("static"),
        isolation=partial(Isolation().report, GuixCommand("guix", folder, "nobody"), folder, None),
    )
    async with running_manager(folder) as (manager, pipeline):
        for name, visibility in (("good", Visibility.EVERYONE), ("slow", Visibility.PRIVATE)):
            request = NewEnvironment(repository=f"https://git.example/a/{name}", visibility=visibility)
            await manager.add_environment(request, Person("ada"))
        address = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
        make_server(make_application(manager, settings)).listen(address.port or 80, address.hostname or "")
        while not (folder / "release").exists():
            await asyncio.sleep(0.1)
        pipeline.release.set()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(os.environ["SERVED_FOLDER"])))
