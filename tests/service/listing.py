"""All environments that somebody may see, in tests: the service itself only ever shows a part of them at a time."""

from guix_build_service.manager.lookups import Lookups
from guix_build_service.model.environments import LARGEST_PAGE, EnvironmentDetail, EnvironmentFilter, PageRequest, Person


async def environments_for(person: Person, manager: Lookups) -> list[EnvironmentDetail]:
    """Return all that PERSON may see, by name."""
    page = await manager.some_environments(person, EnvironmentFilter(), PageRequest(LARGEST_PAGE))
    found = list(page.items)
    while page.following is not None:
        page = await manager.some_environments(person, EnvironmentFilter(), PageRequest(LARGEST_PAGE, page.following))
        found += page.items
    return found
