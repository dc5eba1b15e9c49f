"""The command ``guix-build-service``: the service itself, its administration, and what people ask of it.

What belongs to one command is imported when that command is done, so that asking a service does not wait for the service's
own program to be loaded.
"""

import sys
from collections.abc import Sequence
from importlib.metadata import version

OVERVIEW = """\
On the service's machine:

  guix-build-service [serve] [--BuildService.TRAIT=VALUE …]     run the service (what the hub does)
  guix-build-service server-layer [--BuildService.…]            build JupyterLab and the tools of every session
  guix-build-service downgrade SCHEMA [--BuildService.…]        take the database back for an earlier release
  guix-build-service doctor [--json] [--BuildService.…]         see whether the service could do its work here
  guix-build-service read FILE [--json] [--no-guix] [--root …]  say what a manifest or a channels file says
  guix-build-service completion bash|zsh|fish                   print what a shell runs to complete all this

Anywhere with a token of the hub, or there with --folder FOLDER and none; COMMAND --help tells more:

  guix-build-service list | show | add | build | log | cancel | rollback | share | unshare | give | delete
  guix-build-service resolve | import | sessions | storage | webhook | credentials | gc | pin | unpin | export | tokens
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what ARGUMENTS say and return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["help"] and len(words) > 1:
        words = [*words[1:], "--help"]
    if words[:1] in (["-h"], ["--help"], ["help"]):
        print(OVERVIEW, end="")
        return 0
    if words[:1] in (["-V"], ["--version"]):
        print(f"guixspawner {version('guixspawner')}")
        return 0
    name = words.pop(0) if words and not words[0].startswith("-") else "serve"
    if name == "read":
        from guix_build_service.program import read_command

        return read_command.main(words)
    if name == "completion":
        from guix_build_service.commands import completion

        return completion.main(words)
    if name in {"serve", "server-layer", "downgrade", "doctor"}:
        from guix_build_service.program import service_commands

        return service_commands.main(name, words)
    from guix_build_service.commands import program

    return program.main([name, *words])
