"""Which environments a person finds on the start page."""

from datetime import UTC, datetime

from guix_environment.errors import GuixSpawnerError
from guix_environment.records import EnvironmentRecord, Records
from guix_environment.repository_url import RepositoryUrl
from guixspawner.form import Offer
from guixspawner.session import Applicant


def offers_for(records: Records, applicant: Applicant) -> list[Offer]:
    """Return what APPLICANT may start, their own first, by name.

    Others' private environments are left out for administrators too, who can start them all the same.  Blocks for some small
    files; what is damaged, or deleted meanwhile, is left out.
    """
    offers = []
    for environment in records.environments():
        if environment.may_be_started_by(applicant.name, applicant.groups):
            offer = _offer(records, environment, applicant)
            offers += [offer] if offer else []
    return sorted(offers, key=lambda offer: bool(offer.shared_by))


def _offer(records: Records, environment: EnvironmentRecord, applicant: Applicant) -> Offer | None:
    try:
        version = records.read_version(environment.id, environment.current)
        file = records.version_folder(environment.id, version.id) / "version.json"
        built = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        repository = RepositoryUrl.parse(environment.repository)
    except (GuixSpawnerError, OSError):
        return None
    return Offer(
        id=environment.id,
        name=environment.name,
        description=environment.description,
        repository=repository,
        commit=version.commit,
        built=built,
        shared_by="" if environment.owner == applicant.name else environment.owner,
    )
