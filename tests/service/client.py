"""The service's Git and what it does with a repository, without the rest of the service."""

import shutil
from pathlib import Path

from guix_build_service.git.git import Git
from guix_build_service.git.hosts import Hosts, PrivateHost
from guix_build_service.logs.build_logs import Logs
from guix_build_service.model.environments import Resolved
from guix_build_service.pipeline.fetch import fetch
from guix_build_service.pipeline.job import Job
from guix_build_service.pipeline.resolve import resolve
from guix_environment.identifiers import BuildId
from guix_environment.repository_url import RepositoryUrl


class Client:
    """The service's Git, allowed to talk to one server."""

    def __init__(self, folder: Path, host: str) -> None:
        self.git = Git(shutil.which("git") or "git", folder)
        self.hosts = Hosts([PrivateHost.parse(host)])
        self.folder = folder
        self.logs = Logs(folder / "logs")

    def job(self, url: str, subdirectory: str = "") -> Job:
        build = BuildId.new()
        folder = self.folder / build
        repository = RepositoryUrl.parse(url)
        return Job(build, repository, "", subdirectory, None, False, folder, self.logs.open(build))

    async def resolve(self, url: str, ref: str = "") -> Resolved:
        return await resolve(self.git, self.hosts, RepositoryUrl.parse(url), ref)

    async def fetched(self, url: str, ref: str = "", subdirectory: str = "") -> tuple[Job, Resolved]:
        job, resolved = self.job(url, subdirectory), await self.resolve(url, ref)
        await fetch(job, self.git, self.hosts, resolved)
        return job, resolved
