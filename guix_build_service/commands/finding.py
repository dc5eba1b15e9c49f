"""Which environment or build a person means, who writes an id, a name or a repository's address."""

import os
import re
from http import HTTPStatus

from guix_build_service.commands.access import whole_path
from guix_build_service.commands.client import Client
from guix_build_service.commands.outcomes import NothingSuch, RefusedByService, SeveralSuch
from guix_build_service.commands.terminal import short
from guix_build_service.web.schemas.environments import EnvironmentAnswer
from guix_environment.identifiers import EnvironmentId

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_FOLDER = re.compile(r"(?:[/~]|\.\.?(?:/|\Z))")
_LONGEST_NAME = 200


def is_address(word: str) -> bool:
    """Tell whether WORD is a repository's address or a folder, and no environment's name or id."""
    return bool(_SCHEME.match(word) or _FOLDER.match(word))


def address_of(word: str) -> str:
    """Return the address that WORD is; a folder's is that of the folder on the service's machine.

    >>> address_of("/srv/git/analysis")
    'file:///srv/git/analysis'

    Raises `CommandMisused` for a folder of which nobody can tell where it is.
    """
    if not _FOLDER.match(word):
        return word
    return f"file://{os.path.realpath(whole_path(word))}"


def environment_meant(client: Client, word: str) -> EnvironmentAnswer:
    """Return the environment whose id, name or repository is WORD.  Raises `NothingSuch` and `SeveralSuch`."""
    if EnvironmentId.form.fullmatch(word):
        try:
            return client.environment(word)
        except RefusedByService as error:
            if error.http_status != HTTPStatus.NOT_FOUND:
                raise
    if is_address(word):
        found = list(client.environments(repo=address_of(word)))
    elif len(word) <= _LONGEST_NAME and word.isprintable():
        found = [each for each in client.environments(text=word) if each.name == word]
    else:
        found = []
    if not found:
        raise NothingSuch(
            f"There is no environment {short(word)}, or none that you may see.",
            hint="guix-build-service list names them all.",
        )
    if len(found) > 1:
        named = "; ".join(
            f"{each.id} is {each.owner}'s {short(each.name)} at {each.ref or 'its default'}" for each in found[:20]
        )
        raise SeveralSuch(f"{len(found)} environments are called {short(word)}.", hint=f"Give the id of one: {named}.")
    return found[0]


def build_meant(client: Client, word: str) -> str:
    """Return the id of the latest build of the environment that WORD means, or of the build whose id it is."""
    try:
        environment = environment_meant(client, word)
    except NothingSuch:
        if not EnvironmentId.form.fullmatch(word):  # builds have ids of the same form
            raise
        return client.one_build(word).id
    if environment.build is not None:
        return environment.build.id
    if environment.version is not None:
        return environment.version.build
    raise NothingSuch(
        f"{short(environment.name)} was never built.", hint=f"guix-build-service build {environment.id} builds it."
    )
