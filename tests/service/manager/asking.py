"""How the tests of the manager ask for environments, of a service whose builds are a script."""

from guix_build_service.model.environments import EnvironmentDetail, NewEnvironment
from guix_environment.identifiers import BuildId
from tests.service.installation import ADA, Installation
from tests.service.scripted import ScriptedPipeline

URL = "https://forge.example/ada/plots"

Service = tuple[Installation, ScriptedPipeline]


async def ready(installation: Installation, **given: object) -> EnvironmentDetail:
    """Return what ADA added, by what is GIVEN and else `URL` alone, once its build is over."""
    request = NewEnvironment(**{"repository": URL, **given})  # type: ignore[arg-type] # the tests give what it takes
    asked = await installation.manager.add_environment(request, ADA)
    await installation.finished(asked)
    return await installation.store.environment(asked.environment.id)


def build_of(detail: EnvironmentDetail) -> BuildId:
    """Return the build of DETAIL, which has one."""
    assert detail.build is not None
    return detail.build.id
