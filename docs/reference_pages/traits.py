"""The section about a class that can be configured, from the help texts of its traits."""

import inspect
from collections.abc import Mapping

from jupyterhub.traitlets import ByteSpecification
from traitlets import Bool, CaselessStrEnum, Dict, Float, HasTraits, Integer, List, TraitType, Unicode

from reference_pages.page import Unexplained

_WORKED_OUT = {
    ("GuixSpawner", "service_url"): "below the hub's base URL, `services/guix/`",
}
"""Defaults that code works out when they are asked for, in words."""

_UNSET = {
    ("BuildService", "roots_folder"): "`/var/guix/profiles/per-user/ACCOUNT/guix-build-service`",
    ("BuildService", "database_url"): "`service.sqlite` in `service_folder`",
    ("BuildService", "address"): "what the hub says",
    ("BuildService", "certificate_authorities"): "those that the machine knows",
    ("BuildService", "config_file"): "none",
    ("CredentialKeys", "key_file"): "`credential-keys` in `service_folder`, where there is no JUPYTERHUB_CRYPT_KEY",
    ("SshHosts", "known_hosts"): "none",
    ("BuildService", "sessions_folder"): "none",
    ("BuildService", "leases_folder"): "none",
    ("ManifestEvaluation", "account"): "the service's own",
    ("GuixSpawner", "records_folder"): "none; must be set",
    ("SessionNetwork", "folder"): "none; must be set",
    ("GuixSpawner", "homes_folder"): "none; must be set",
    ("GuixSpawner", "sessions_folder"): "none; must be set",
    ("GuixSpawner", "leases_folder"): "none; must be set",
}
"""What an empty text stands for, in words."""


def traits_section(configurable: type[HasTraits], given: Mapping[tuple[str, str], str], introduction: str) -> str:
    """Return the section about CONFIGURABLE: INTRODUCTION, and each trait with what GIVEN sets it to.

    Raises `Unexplained` where a trait has no help, no known type or no words for its default.
    """
    traits: dict[str, TraitType[object, object]] = configurable.class_own_traits(config=True)
    entries = [_trait(configurable, name, trait, given) for name, trait in traits.items()]
    return "\n\n".join([f"## {configurable.__name__}", introduction, *entries])


def _trait(
    configurable: type[HasTraits], name: str, trait: TraitType[object, object], given: Mapping[tuple[str, str], str]
) -> str:
    place = configurable.__name__, name
    explanation = inspect.cleandoc(str(trait.help or ""))
    if not explanation:
        raise Unexplained(f"{'.'.join(place)} has no help that says what it is.")
    facts = {"Type": kind(trait), "Default": _default(place, trait)}
    if place in given:
        facts["With `configure`"] = f"`{given[place]}`"
    listed = "\n".join(f"- {label}: {fact}" for label, fact in facts.items())
    return f"### {name}\n\n{explanation}\n\n{listed}"


def kind(trait: TraitType[object, object]) -> str:
    """Return of which kind the values of TRAIT are, in words.  Raises `Unexplained`."""
    match trait:
        case Bool():
            return "true or false"
        case ByteSpecification():
            return "bytes, as a number or as `20G`"
        case CaselessStrEnum():
            return "one of " + ", ".join(f"`{value}`" for value in trait.values or ())
        case Unicode():
            return "text"
        case Integer() | Float():
            what = "whole number" if isinstance(trait, Integer) else "number"
            return what if trait.min is None else f"{what}, {trait.min:g} or more"
        case List():
            member = getattr(trait, "_trait", None)
            return f"list; of each member: {kind(member)}" if member else "list"
        case Dict():
            return "dictionary; JSON on a command line"
    raise Unexplained(f"The type of {trait.name} ({type(trait).__name__}) has no words in docs/reference_pages/traits.py.")


def _default(place: tuple[str, str], trait: TraitType[object, object]) -> str:
    if place in _WORKED_OUT:
        return _WORKED_OUT[place]
    value = trait.default()
    if value is None:
        return "none"
    if value == "":
        if place not in _UNSET:
            raise Unexplained(f"What {'.'.join(place)} is when it is empty has no words in docs/reference_pages/traits.py.")
        return _UNSET[place]
    if isinstance(value, list | tuple | dict):
        return "none" if not value else f"`{value!r}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
