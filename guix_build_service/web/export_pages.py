"""The page that tells how a version is made again elsewhere, and the two files for it."""

from guix_build_service.model.environments import Export, Version
from guix_build_service.web.api import identified
from guix_build_service.web.environment_pages import EnvironmentPages
from guix_environment.errors import NotFound
from guix_environment.identifiers import EnvironmentId, VersionId


class _Exports(EnvironmentPages):
    async def exported(self, environment: str, version: str) -> tuple[Version, Export]:
        """Return the version that the address names, and what makes it again."""
        identifiers = identified(EnvironmentId, environment), identified(VersionId, version)
        found = await self.manager.version(*identifiers, self.person)
        return found, await self.manager.export(*identifiers, self.person)


class ExportPage(_Exports):
    """What makes a version again on another machine, to read."""

    route = "environments/{environment}/versions/{version}/export"

    async def get(self, environment: str, version: str) -> None:
        """Show."""
        card = await self.card(environment)
        found, export = await self.exported(environment, version)
        self.render_page("export.html", card=card, version=found, export=export)


class ExportedFile(_Exports):
    """One of its two files, to keep."""

    route = "environments/{environment}/versions/{version}/export/{file}"

    async def get(self, environment: str, version: str, file: str) -> None:
        """Give it."""
        _, export = await self.exported(environment, version)
        text = {"manifest.scm": export.manifest, "channels.scm": export.channels}.get(file)
        if not text:
            raise NotFound("There is no such file for this version.")
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{file}"')
        self.finish(text)
