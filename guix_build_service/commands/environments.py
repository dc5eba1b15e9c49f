"""The commands about environments: list, show, add, build, delete, rollback, resolve."""

import argparse
from collections.abc import Mapping

from guix_build_service.commands.call import Call
from guix_build_service.commands.finding import address_of, environment_meant, is_address
from guix_build_service.commands.outcomes import ExitStatus
from guix_build_service.commands.terminal import facts, short, size, table
from guix_build_service.commands.waiting import tell, waited
from guix_build_service.commands.words import ENVIRONMENT, add_sharing, add_wait, asked_for, command
from guix_build_service.local.started import Work
from guix_build_service.model.environments import BuildState
from guix_build_service.web.schemas.environments import EnvironmentAnswer, EnvironmentRequest
from guix_build_service.web.schemas.versions import ProfileState, VersionAnswer
from guix_environment.records import Visibility


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parsers of these commands."""
    _add_list(commands)
    show = command(commands, "show", show_environment, "show an environment with its versions", work=Work.LOOK)
    show.add_argument("environment", help=ENVIRONMENT)

    add = command(
        commands,
        "add",
        add_environment,
        "add an environment and build it",
        "Where you have one of the same repository, ref and folder already, that one is brought up to date.",
        work=Work.BUILD,
    )
    add.add_argument("address", help="the repository's address, or a folder of the service's machine")
    add.add_argument("--ref", default="", help="branch, tag or commit; else the repository's default branch")
    add.add_argument("--subdir", default="", metavar="FOLDER", help="the folder in the repository that holds the manifest")
    add_sharing(add)
    add_wait(add)

    build = command(
        commands,
        "build",
        build_environment,
        "build what an environment's ref stands for now",
        "An address that you have no environment of is added.",
        work=Work.BUILD,
    )
    build.add_argument(
        "environment", metavar="environment|address", help=f"{ENVIRONMENT}, or a folder of the service's machine"
    )
    build.add_argument("--force", action="store_true", help="build also what was built before")
    build.add_argument("--version", help="build the commit of this version again, from what is kept of it")
    add_wait(build)

    delete = command(
        commands, "delete", delete_environment, "delete an environment with its versions", "Nobody's files are touched."
    )
    delete.add_argument("environment", help=ENVIRONMENT)
    delete.add_argument("--yes", action="store_true", help="do not ask")

    rollback = command(commands, "rollback", roll_back, "make an earlier version of an environment the current one")
    rollback.add_argument("environment", help=ENVIRONMENT)
    rollback.add_argument(
        "version", nargs="?", help="the version's id, as `show` prints it; else the one before the current"
    )

    resolve = command(
        commands, "resolve", resolve_address, "see which commit would be built, and build nothing", work=Work.LOOK
    )
    resolve.add_argument("address", help="the repository's address, or a folder of the service's machine")
    resolve.add_argument("--ref", default="", help="branch, tag or commit; else the repository's default branch")


def _add_list(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = command(commands, "list", list_environments, "list the environments that you may see, by name", work=Work.LOOK)
    parser.add_argument("--owner", help="only those of this person")
    parser.add_argument(
        "--state", choices=[each.value for each in BuildState], help="only those whose latest build is there"
    )
    parser.add_argument("--text", help="only those with this in name, description or address")
    parser.add_argument("--repo", metavar="ADDRESS", help="only those of this repository")
    parser.add_argument("--visibility", choices=[each.value for each in Visibility], help="only those for these people")


def list_environments(call: Call) -> ExitStatus:
    """List."""
    names = ("owner", "state", "text", "repo", "visibility")
    wanted = {name: value for name in names if (value := getattr(call.options, name)) is not None}
    if "repo" in wanted:
        wanted["repo"] = address_of(wanted["repo"])
    found = list(call.client.environments(**wanted))
    head = ("NAME", "STATE", "COMMIT", "FOR", "OWNER", "ID", "REPOSITORY")
    rows = [
        (each.name, each.state.value, (each.commit or "")[:7], each.visibility.value, each.owner, each.id, _source(each))
        for each in found
    ]
    call.output.give([each.model_dump(mode="json") for each in found], table(head, rows) if rows else "")
    if not rows:
        call.output.note("There are no such environments." if wanted else "There are no environments that you may see.")
    return ExitStatus.DONE


def _source(environment: EnvironmentAnswer) -> str:
    ref = f" at {environment.ref}" if environment.ref else ""
    return f"{environment.repo}{ref}{f' in {environment.subdir}' if environment.subdir else ''}"


def show_environment(call: Call) -> ExitStatus:
    """Show."""
    found = environment_meant(call.client, call.options.environment)
    versions = call.client.versions(found.id)
    value = {**found.model_dump(mode="json"), "versions": [each.model_dump(mode="json") for each in versions]}
    call.output.give(value, f"{facts(_facts(found))}\n{_versions(found, versions)}".rstrip())
    return ExitStatus.DONE


def _facts(found: EnvironmentAnswer) -> list[tuple[str, str]]:
    error: Mapping[str, object] = (found.build.error if found.build else None) or {}
    return [
        ("name", found.name),
        ("environment", found.id),
        ("about", found.description),
        ("repository", _source(found)),
        ("owner", found.owner),
        ("for", " ".join((found.visibility.value, *found.groups))),
        ("memory", size(found.memory) if found.memory is not None else ""),
        ("cores", f"{found.cpu:g}" if found.cpu is not None else ""),
        ("state", found.state.value),
        ("build", found.build.id if found.build else ""),
        ("error", f"{error.get('message', '')} {error.get('hint', '')}".strip()),
        ("kernels", ", ".join(found.version.kernels) if found.version else ""),
        ("packages", " ".join(found.version.packages) if found.version else ""),
    ]


def _versions(found: EnvironmentAnswer, versions: tuple[VersionAnswer, ...]) -> str:
    current = found.version.id if found.version else ""
    rows = [
        (
            "*" if each.id == current else "",
            each.id,
            each.commit[:7],
            f"{each.created:%Y-%m-%d %H:%M}",
            size(each.size),
            "gone" if each.profile is ProfileState.GONE else "pinned" if each.pinned else "",
            each.ref,
        )
        for each in versions
    ]
    return "\n" + table(("", "VERSION", "COMMIT", "BUILT (UTC)", "SIZE", "PROFILE", "REF"), rows) if rows else ""


def add_environment(call: Call) -> ExitStatus:
    """Add."""
    options = call.options
    given = {
        "repo": address_of(options.address),
        "ref": options.ref,
        "subdir": options.subdir,
        **{
            name: value
            for name in ("name", "description", "visibility", "groups", "memory", "cpu")
            if (value := getattr(options, name)) is not None
        },
    }
    return _outcome(call, call.client.add(request_of(given)))


def request_of(given: Mapping[str, object]) -> EnvironmentRequest:
    """Return what the API is asked to add.  Raises `CommandMisused`."""
    visibility = Visibility(str(given.get("visibility", Visibility.PRIVATE.value)))
    raw_groups = given.get("groups")
    groups = tuple(raw_groups) if isinstance(raw_groups, list) else ()
    return asked_for(EnvironmentRequest, {**given, "visibility": visibility, "groups": groups})


def build_environment(call: Call) -> ExitStatus:
    """Build."""
    word, force, version = call.options.environment, call.options.force, call.options.version
    if version is not None or not is_address(word):
        found = environment_meant(call.client, word)
        return _outcome(call, call.client.build(found.id, force=force, version=version))
    found = call.client.add(request_of({"repo": address_of(word)}))
    if force and found.state is BuildState.READY:
        found = call.client.build(found.id, force=True)
    return _outcome(call, found)


def _outcome(call: Call, environment: EnvironmentAnswer) -> ExitStatus:
    wait = call.options.wait or call.builds_end_with_us()
    return tell(call.output, waited(call.client, call.output, environment) if wait else environment)


def delete_environment(call: Call) -> ExitStatus:
    """Delete."""
    found = environment_meant(call.client, call.options.environment)
    question = f"Delete {found.owner}'s {short(found.name)} ({found.id}) with all its versions?"
    if not call.options.yes and not call.ask(question):
        call.output.note("It stays.")
        return ExitStatus.REFUSED
    call.client.delete(found.id)
    call.output.give({"deleted": found.id}, f"Deleted {short(found.name)} ({found.id}).")
    return ExitStatus.DONE


def roll_back(call: Call) -> ExitStatus:
    """Roll back."""
    found = environment_meant(call.client, call.options.environment)
    after = call.client.rollback(found.id, call.options.version)
    version = after.version
    text = f"{short(after.name)} is at {version.commit[:7]} now, version {version.id}." if version else ""
    call.output.give(after.model_dump(mode="json"), text)
    return ExitStatus.DONE


def resolve_address(call: Call) -> ExitStatus:
    """Resolve."""
    found = call.client.resolve(address_of(call.options.address), call.options.ref)
    lines = [("repository", found.repo), ("ref", found.ref), ("commit", found.commit or "")]
    call.output.give(found.model_dump(mode="json"), facts(lines))
    return ExitStatus.DONE
