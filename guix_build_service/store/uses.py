"""When profiles were used last, as far as that was seen."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from guix_build_service.store.tables import uses, versions
from guix_environment.identifiers import StorePath

EXACT = timedelta(minutes=1)
"""How exactly it is noted, so that sessions that run do not have the disk written to all the time."""


def note(connection: Connection, profiles: Collection[StorePath], moment: datetime) -> None:
    """Note that PROFILES are used at MOMENT, those of them that some version has."""
    known = set(connection.scalars(select(versions.c.profile).where(versions.c.profile.in_(profiles)).distinct()))
    before = {row.profile: row.used for row in connection.execute(select(uses).where(uses.c.profile.in_(known)))}
    for profile in sorted(known):
        if profile not in before:
            connection.execute(insert(uses).values(profile=profile, used=moment))
        elif abs(moment - before[profile]) >= EXACT:  # also where a clock was ahead when it was used before
            connection.execute(update(uses).where(uses.c.profile == profile).values(used=moment))


def of(connection: Connection, profiles: Collection[StorePath]) -> Mapping[StorePath, datetime]:
    """Return when PROFILES were used last, those of which that is known."""
    found = connection.execute(select(uses).where(uses.c.profile.in_(profiles)))
    return {StorePath(row.profile): row.used for row in found}


def forget_unknown(connection: Connection) -> None:
    """Forget what no version has any more."""
    connection.execute(delete(uses).where(uses.c.profile.not_in(select(versions.c.profile))))
