"""The page about the commands, with what their parsers say."""

import argparse
import ast
import inspect
import itertools
from collections.abc import Iterator

from guix_build_service.command_line import OVERVIEW
from guix_build_service.commands import outcomes
from guix_build_service.commands.program import make_parser
from reference_pages.page import Unexplained, heading

_COMMAND_LINE = """\
```
OVERVIEW
```

The commands on the service's machine take the service's own [configuration](configuration.md); what `read` understands is in
[Manifests](manifests.md). All others ask a running service by its [API](api.md), on any machine that has this package:

- `GUIX_BUILD_SERVICE_URL`, or `--service URL`, is the service's address, or the hub's. The token is sent to other machines
  by `https` alone, unless `--plain-http` is given.
- `GUIX_BUILD_SERVICE_TOKEN` is a token of the hub; its *Token* page makes one. It is never an argument, as those can be seen
  by everybody on a machine.
- Where that is not set, the token is in the file that `GUIX_BUILD_SERVICE_TOKEN_FILE` names, or else in
  `~/.config/guix-build-service/token`. Nobody else may be able to read that file (`chmod 600`).
- On the service's own machine, root and the service's account need neither: `--folder FOLDER` or `GUIX_BUILD_SERVICE_FOLDER`
  names the hub's state folder, and `--local` stands for `/srv/guixspawner`. See [Script
  it](../howto/scripts.md#on-the-service-s-own-machine).
- `HTTPS_PROXY` and `NO_PROXY` are heeded, and `SSL_CERT_FILE` names certificates to trust in place of the machine's.

Every command also takes `--help`, `--service`, `--local`, `--folder`, `--plain-http` and `--json`. Results are printed to
standard output, everything else to standard error. With `--json` the result is one JSON value as the API has it, and so is a
refusal: `{"error": {"code": …, "message": …, "hint": …}}`, with [a code](errors.md) that stays the same. Characters that
steer a terminal are printed as their codes, whoever put them where."""

_GALLERIES = """\
## Galleries

A gallery lists environments that a hub is to have:

```yaml
defaults:
  visibility: everyone
environments:
  - repo: https://codeberg.org/somebody/analysis
    ref: main
    name: Plots
    description: Draws plots.
    memory: 4G
    cpu: 2
  - repo: https://git.example.org/course
    subdir: week-1
    visibility: groups
    groups: [students]
```

Only `repo` is needed, which is the repository's own address; the fields are those of `POST environments` in
[the API](api.md). `defaults` holds for every entry that does not say otherwise, and may have all of them but `repo` and
`name`.

An entry stands for the environment that the caller has of the same repository, ref and folder. Where there is none, it is
added. Else what the entry says is changed, what it does not say stays, and the ref is built as it is now. What is no longer
listed stays too.
"""

_EVERYWHERE = frozenset({"json", "service", "plain_http", "local", "folder"})
"""What every command takes, and is told of once."""


def command_line_page() -> str:
    """Return the page about the commands that speak to a service, with what their parsers say."""
    rows = [f"| {status.value} | {meaning} |" for status, meaning in exit_statuses()]
    parts = [
        heading("The command line", "the parsers of `guix_build_service/commands`"),
        _COMMAND_LINE.replace("OVERVIEW", OVERVIEW.strip()),
        *commands(make_parser(), "guix-build-service"),
        "## Exit statuses",
        "\n".join(["| status | meaning |", "| --- | --- |", *rows]),
        _GALLERIES,
    ]
    return "\n\n".join(parts)


def exit_statuses() -> Iterator[tuple[outcomes.ExitStatus, str]]:
    """Yield every exit status with the sentence that stands below it in the code.  Raises `Unexplained`."""
    [body] = [node.body for node in ast.parse(inspect.getsource(outcomes.ExitStatus)).body if isinstance(node, ast.ClassDef)]
    for node, following in itertools.pairwise([*body, ast.Pass()]):
        if isinstance(node, ast.Assign) and isinstance(name := node.targets[0], ast.Name):
            text = following.value if isinstance(following, ast.Expr) else None
            if not isinstance(text, ast.Constant):
                raise Unexplained(f"The exit status {name.id} has no sentence that says what it means.")
            yield outcomes.ExitStatus[name.id], str(text.value)


def commands(parser: argparse.ArgumentParser, prefix: str) -> Iterator[str]:
    """Yield the section of each command below PARSER, whose words so far are PREFIX."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to ask
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - likewise
            for name, each in action.choices.items():
                inner = list(commands(each, f"{prefix} {name}"))
                yield from inner or [_command(each, f"{prefix} {name}")]


def _command(parser: argparse.ArgumentParser, words: str) -> str:
    actions = [action for action in parser._actions if action.dest != "help"]  # noqa: SLF001 - likewise
    own = [action for action in actions if action.dest not in _EVERYWHERE]
    shown = {action: _word(action) for action in own}
    usage = " ".join([words, *(text if action.required else f"[{text}]" for action, text in shown.items())])
    for action, text in shown.items():
        if not action.help:
            raise Unexplained(f"{words} does not say what {text} is.")
    rows = "\n".join(
        f"| `{text.replace('|', chr(92) + '|')}` | {action.help}{_choices(action)} |" for action, text in shown.items()
    )
    table = f"\n\n| word | meaning |\n| --- | --- |\n{rows}" if rows else ""
    title = words.partition(" ")[2]
    return f"## {title}\n\n{parser.description}\n\n```\n{usage}\n```{table}"


def _word(action: argparse.Action) -> str:
    """Return how ACTION is written on a command line."""
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest
    if not action.option_strings:
        return metavar.upper()
    name = ", ".join(action.option_strings)
    return name if action.nargs == 0 else f"{name} {metavar.upper()}"


def _choices(action: argparse.Action) -> str:
    return f": {', '.join(f'`{choice}`' for choice in action.choices)}" if action.choices else ""
