"""Waiting for a build, and telling how it came out."""

from collections import deque

from guix_build_service.commands.client import Client
from guix_build_service.commands.outcomes import ExitStatus
from guix_build_service.commands.terminal import BuildProgress, Output, facts
from guix_build_service.model.environments import BuildState
from guix_build_service.web.schemas.builds import BuildAnswer, LogEvent
from guix_build_service.web.schemas.environments import EnvironmentAnswer

LINES_OF_A_FAILURE = 20
"""How much of the end of its log is shown of a build that failed."""


def waited(client: Client, output: Output, environment: EnvironmentAnswer) -> EnvironmentAnswer:
    """Follow the build of ENVIRONMENT to its end, and return the environment as it is then."""
    build = environment.build
    if build is None or build.state.is_final:
        return environment
    progress, tail = BuildProgress(output.notes), deque[str](maxlen=LINES_OF_A_FAILURE)
    last, rest = build, ""
    try:
        for event in client.follow(build.id):
            if isinstance(event, LogEvent):
                *lines, rest = (rest + event.text).split("\n")
                tail.extend(lines)
            else:
                last = event
                progress.show(event)
    finally:
        progress.end()
    if last.state is BuildState.FAILED:
        for line in (*tail, rest):
            output.note(line)
    # The environment may have another build by now; told is how this one came out.
    return client.environment(environment.id).model_copy(update={"build": last, "state": last.state})


def tell(output: Output, environment: EnvironmentAnswer) -> ExitStatus:
    """Print ENVIRONMENT as a command's result, and return how its build lets the command end."""
    build = environment.build
    output.give(environment.model_dump(mode="json"), facts(_facts(environment, build)))
    if environment.state not in {BuildState.FAILED, BuildState.CANCELLED}:
        return ExitStatus.DONE
    if build is not None:
        say_why(output, build)
    return ExitStatus.BUILD_FAILED


def say_why(output: Output, build: BuildAnswer) -> None:
    """Say why BUILD gave no version, and what to do about it."""
    error = build.error or {}
    output.note(f"guix-build-service: The build is {build.state.value}. {error.get('message', '')}".rstrip())
    if error.get("hint"):
        output.note(str(error["hint"]))


def _facts(environment: EnvironmentAnswer, build: BuildAnswer | None) -> list[tuple[str, str]]:
    under_way = build is not None and not build.state.is_final
    return [
        ("environment", environment.id),
        ("name", environment.name),
        ("repository", environment.repo),
        ("commit", environment.commit or ""),
        ("state", environment.state.value),
        ("build", build.id if build else ""),
        ("follow it", f"guix-build-service log -f {build.id}" if build and under_way else ""),
    ]
