"""How much of everything there is, counted by the database."""

from sqlalchemy import Connection, func, select

from guix_build_service.model.environments import BuildState
from guix_build_service.model.measures import Figures
from guix_build_service.store.tables import builds, environments, versions


def figures(connection: Connection) -> Figures:
    """Return how much there is; a profile counts once, however many versions have it."""
    states = connection.execute(select(builds.c.state, func.count()).group_by(builds.c.state)).all()
    kept = select(func.max(versions.c.size).label("size")).where(versions.c.let_go.is_(None))
    profiles = kept.group_by(versions.c.key).subquery()
    sizes = select(func.count(), func.coalesce(func.sum(profiles.c.size), 0)).select_from(profiles)
    count, size = connection.execute(sizes).one()
    return Figures(
        builds={BuildState(state): number for state, number in states},
        environments=connection.execute(select(func.count()).select_from(environments)).scalar_one(),
        versions=connection.execute(select(func.count()).select_from(versions)).scalar_one(),
        profiles=count,
        size=int(size),
    )
