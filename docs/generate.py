"""Write those pages of the reference that say what the code says: the command line, the configuration, the errors.

python docs/generate.py            write them
python docs/generate.py --check    fail when they are not what they would be
"""

import argparse
import ast
import inspect
import itertools
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jupyterhub.traitlets import ByteSpecification
from traitlets import Bool, CaselessStrEnum, Dict, Float, HasTraits, Integer, List, TraitType, Unicode
from traitlets.config import Config

from guix_build_service.application import BuildService
from guix_build_service.command_line import OVERVIEW
from guix_build_service.commands import outcomes
from guix_build_service.commands.program import make_parser
from guix_build_service.credential_settings import CredentialKeys
from guix_build_service.evaluation_settings import ManifestEvaluation
from guix_build_service.isolation_settings import Isolation
from guix_build_service.manifest import evaluation, neighbours, reader, specifications
from guix_build_service.manifest.channels import VOCABULARY as CHANNEL_VOCABULARY
from guix_build_service.manifest.grammar import VOCABULARY
from guix_build_service.manifest.specifications import REPEATABLE
from guix_build_service.web.limits import RequestLimits
from guix_environment import errors
from guix_environment.errors import GuixSpawnerError
from guixspawner import configure
from guixspawner.accounts import SessionAccounts
from guixspawner.folders import SessionFolders
from guixspawner.life import SessionLife
from guixspawner.limits import SessionLimits
from guixspawner.network.settings import SessionNetwork
from guixspawner.spawner import GuixSpawner

REFERENCE = Path(__file__).resolve().parent / "reference"

COMMAND = "python docs/generate.py"

_CONFIGURATION = """\
`jupyterhub_config.py` configures everything. One call of `configure` does most of it; what it does not set has the
default that stands here, and can be set after the call. `STATE` is the folder that `configure` is given, `ACCOUNT`
the account that the hub runs as."""

_SPAWNER = """\
In the hub's process: `c.GuixSpawner.grace = 60`. All of [JupyterHub's own
Spawner](https://jupyterhub.readthedocs.io/en/stable/reference/api/spawner.html) is there too. Its `mem_limit`,
`cpu_limit`, `mem_guarantee` and `cpu_guarantee` are in force as [Limits](../howto/limits.md) tells."""

_ACCOUNTS = """\
Whom sessions run as: `c.SessionAccounts.accounts = "unix"`. [Accounts](../howto/accounts.md) tells which to choose."""

_FOLDERS = """\
What people see of the machine beside their homes; [Shared folders](../howto/shared-folders.md) has examples."""

_LIFE = """\
When sessions end by themselves; [Idle sessions](../howto/idle-sessions.md) tells what counts as use."""

_LIMITS = """\
What bounds a session, beside the hub's own `mem_limit` and `cpu_limit`, and by what that is enforced;
[Limits](../howto/limits.md) tells what happens then."""

_NETWORK = """\
In the hub's process: `c.SessionNetwork.outbound = "none"`. [Decide what sessions reach](../howto/network.md) tells what is
what."""

_SERVICE = """\
In the service's own process, which the hub starts. Words of its command configure it, one for each member of a list;
after the call of `configure`, one more is given by

```python
c.JupyterHub.services[-1]["command"].append("--BuildService.running_builds=4")
```

A configuration file of its own is read when `--BuildService.config_file=FILE` is among the words."""

_REQUESTS = """\
Likewise in the service's process: `--RequestLimits.changes_a_minute=60`."""

_EVALUATION = """\
Likewise in the service's process: `--ManifestEvaluation.repositories=git.example.edu`. [Manifests that are
run](../explanation/manifests.md) tells within which walls."""

_ISOLATION = """\
Likewise in the service's process: `--Isolation.level=people`. [Isolation](../howto/isolation.md) tells what the levels
are."""

_CREDENTIALS = """\
Likewise; [Private repositories](../howto/private-repositories.md) tells what for."""

_MANIFESTS = """\
Which forms are read in `manifest.scm`, and in the files that it loads. Nothing of a repository is run; what the forms
mean is as in Guix 1.5.0 and Guile 3. `guix-build-service read FILE [--json]` says what is read in a file. A manifest of
any other form is refused, unless the administrator lets those of its repository [be run](../explanation/manifests.md).

## Levels

`read` says how much had to be understood:

| level | what |
| --- | --- |
| L0 | one list of literal strings |
| L1 | lists and manifests put together |
| L2 | variables of Guix's modules, and packages that are changed in a way that can be repeated |
| L3 | procedures that the file defines, conditions, other files of the repository |

## What can be called

Each name is known only where Guile would know it: where the file uses one of its modules. `(guix profiles)` and
`(gnu)`, which has all of `(gnu packages)`, need not be named, unless the file begins with `define-module`.

FORMS

Any other name that stands alone is a variable of Guix's modules: `octave` of `(gnu packages maths)`, `(@ (gnu packages base)
sed)`, or a list of packages such as `%base-packages`. Guix itself says what it holds, by the modules that the file uses.

Beyond Scheme's own rules:

- `specification->package+output` gives two values; where one is expected, as under `map`, the output is lost.
- A package that is named twice in one manifest is in it once; in two that are put together, twice.
- Of transformations those are read that give the same each time: TRANSFORMATIONS. `tune` needs the name of a processor.
- `getenv` gives false for variables that nobody sets, and is refused for those that a machine may have, such as `HOME`.
- What is printed is ignored.
- A package that a file defines is refused where it is used, not where it is defined.

## Other files

`load`, `include`, `primitive-load` and `(call-with-input-file FILE read)` read files of the same commit, which lie in
the repository and are no symbolic links. `load` and `include` start at the folder of the file that says so. The others
start where Guix runs: they are read in files at the repository's top, or with `(dirname (current-filename))`.

## Limits

| what | most |
| --- | --- |
| one file | LARGEST_TEXT KiB |
| lists within lists | DEEPEST |
| parts of a file | MOST_DATA |
| other files | MOST_FILES |
| forms within forms while they are worked out | DEEPEST_VALUES |
| steps | MOST_STEPS |
| a string that is put together | LONGEST_TEXT characters |
| packages | MOST_PACKAGES |

## Channels files

`channels.scm` is read by the same rules, and by these: CHANNELS. A channel is allowed where its introduction, the first
commit and the key, is that of Guix's own channel or of one that the administrator lists, and its address is one of that
channel's. Names do not count."""

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
- `HTTPS_PROXY` and `NO_PROXY` are heeded, and `SSL_CERT_FILE` names certificates to trust in place of the machine's.

Every command also takes `--help`, `--service`, `--plain-http` and `--json`. Results are printed to standard output,
everything else to standard error. With `--json` the result is one JSON value as the API has it, and so is a refusal:
`{"error": {"code": …, "message": …, "hint": …}}`, with [a code](errors.md) that stays the same. Characters that steer a
terminal are printed as their codes, whoever put them where."""

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

_EVERYWHERE = frozenset({"json", "service", "plain_http"})
"""What every command takes, and is told of once."""

_ERRORS = """\
What goes wrong has a code. It stands in the API's answers and in failed builds, and stays the same from one release
to the next; the message beside it is for people and may change. A code that stands below another is a kind of it. The
status is that of the HTTP answer."""

_ERRORS_ELSEWHERE = """\
A build that failed keeps its error as its own `error`, and is itself shown with status 200. The refusals of the web
alone, such as `not-logged-in`, are in [the API](api.md)."""

_SECTIONS = ("GuixSpawner", "SessionLife", "SessionLimits", "SessionNetwork")
"""Of what `configure` sets, that which is in the reference."""

_STATE = "STATE"
"""How a page calls the folder that `configure` is given."""

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


class Unexplained(Exception):
    """A part of the code that a page cannot be written from, in one sentence."""


def pages() -> Mapping[Path, str]:
    """Return every generated page: its file, and what belongs into it.  Raises `Unexplained`."""
    return {
        REFERENCE / "command-line.md": command_line_page(),
        REFERENCE / "configuration.md": configuration_page(),
        REFERENCE / "errors.md": errors_page(),
        REFERENCE / "manifests.md": manifests_page(),
    }


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with ``--check`` say which are out of date; return the exit status."""
    if list(arguments) not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        wanted = pages()
    except Unexplained as error:
        print(error, file=sys.stderr)
        return 1
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if arguments:
        for path in stale:
            print(f"{path} does not say what the code says; write it anew: {COMMAND}", file=sys.stderr)
        return bool(stale)
    for path in stale:
        path.write_text(wanted[path])
    return 0


# --- the grammar of manifests ------------------------------------------------


def manifests_page() -> str:
    """Return the page about the forms that are read, with the tables that the grammar itself has."""
    filled = _MANIFESTS
    for name, text in {
        "FORMS": _vocabulary(VOCABULARY),
        "CHANNELS": ", ".join(f"`{name}`" for name in sorted(CHANNEL_VOCABULARY.keys() - VOCABULARY.keys())),
        "TRANSFORMATIONS": ", ".join(f"`{name}`" for name in sorted(REPEATABLE)),
        "LARGEST_TEXT": str(reader.LARGEST_TEXT // 1024),
        "DEEPEST_VALUES": str(evaluation.DEEPEST_VALUES),
        "DEEPEST": str(reader.DEEPEST),
        "MOST_DATA": str(reader.MOST_DATA),
        "MOST_FILES": str(neighbours.MOST_FILES),
        "MOST_STEPS": str(evaluation.MOST_STEPS),
        "LONGEST_TEXT": str(evaluation.LONGEST_TEXT),
        "MOST_PACKAGES": str(specifications.MOST_PACKAGES),
    }.items():
        filled = re.sub(rf"\b{name}\b", lambda _match, text=text: text, filled)  # type: ignore[misc] # bound at once
    return _heading("Manifests", "the grammar itself") + "\n\n" + filled


def _vocabulary(vocabulary: evaluation.Vocabulary) -> str:
    """Return a table of the names in VOCABULARY by the module that has them."""
    by_module: dict[str, list[str]] = {}
    for name, known in vocabulary.items():
        core = ("guile",) in known.modules
        module = "every file" if core else f"`({' '.join(known.modules[0])})`"
        by_module.setdefault(module, []).append(f"`{name}`")
    rows = [f"| {module} | {', '.join(sorted(names))} |" for module, names in sorted(by_module.items())]
    return "\n".join(["| module | names |", "| --- | --- |", *rows])


# --- the command line ------------------------------------------------


def command_line_page() -> str:
    """Return the page about the commands that speak to a service, with what their parsers say."""
    rows = [f"| {status.value} | {meaning} |" for status, meaning in exit_statuses()]
    parts = [
        _heading("The command line", "the parsers of `guix_build_service/commands`"),
        _COMMAND_LINE.replace("OVERVIEW", OVERVIEW.strip()),
        *_commands(make_parser(), "guix-build-service"),
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


def _commands(parser: argparse.ArgumentParser, prefix: str) -> Iterator[str]:
    """Yield the section of each command below PARSER, whose words so far are PREFIX."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to ask
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - likewise
            for name, each in action.choices.items():
                inner = list(_commands(each, f"{prefix} {name}"))
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


# --- the configuration ------------------------------------------------


def configuration_page() -> str:
    """Return the page about everything that can be configured."""
    given = configured_values()
    parts = [
        _heading("Configuration", "the code's own descriptions"),
        _CONFIGURATION,
        _configure_section(),
        _traits_section(GuixSpawner, given, _SPAWNER),
        _traits_section(SessionAccounts, given, _ACCOUNTS),
        _traits_section(SessionFolders, given, _FOLDERS),
        _traits_section(SessionLife, given, _LIFE),
        _traits_section(SessionLimits, given, _LIMITS),
        _traits_section(SessionNetwork, given, _NETWORK),
        _traits_section(BuildService, given, _SERVICE),
        _traits_section(ManifestEvaluation, given, _EVALUATION),
        _traits_section(Isolation, given, _ISOLATION),
        _traits_section(RequestLimits, given, _REQUESTS),
        _traits_section(CredentialKeys, given, _CREDENTIALS),
    ]
    return "\n\n".join(parts) + "\n"


def configured_values() -> Mapping[tuple[str, str], str]:
    """Return what `configure` sets for a hub of its own, by class and name."""
    c = Config()
    with tempfile.TemporaryDirectory() as folder:
        configure.configure(c, state_folder=Path(folder) / _STATE, port=8000)
    given = {(section, name): str(value) for section in _SECTIONS for name, value in c[section].items()}
    for word in c.JupyterHub.services[-1]["command"]:
        if match := re.fullmatch(r"--(\w+)\.(\w+)=(.+)", word):
            given[match[1], match[2]] = match[3]
    account = configure.roots_folder().parent.name
    changes = {
        f"{folder}/{_STATE}": _STATE,
        f"/per-user/{account}/": "/per-user/ACCOUNT/",
        # The digest of the folder, see `configure`.
        Path(str(c.GuixSpawner.leases_folder)).name: "INSTALLATION",
    }
    return {place: _replaced(value, changes) for place, value in given.items()}


def _configure_section() -> str:
    signature = inspect.signature(configure.configure)
    words = [_parameter(parameter) for parameter in signature.parameters.values()]
    documentation = inspect.cleandoc(configure.configure.__doc__ or "").replace("``", "`")
    names = {name.upper(): name for name in signature.parameters}
    text = re.sub(r"\b[A-Z_]{4,}\b", lambda match: f"`{names[match[0]]}`" if match[0] in names else match[0], documentation)
    text = re.sub(r"\bC\b", "`c`", text)
    code = "from guixspawner.configure import configure\n\nconfigure(\n" + "".join(f"    {word},\n" for word in words) + ")"
    return f"## configure\n\n```python\n{code}\n```\n\n{text}"


def _parameter(parameter: inspect.Parameter) -> str:
    if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
        return parameter.name
    if parameter.default is inspect.Parameter.empty:
        return f'{parameter.name}=Path("/srv/guixspawner")'
    return f"{parameter.name}={parameter.default!r}"


def _traits_section(configurable: type[HasTraits], given: Mapping[tuple[str, str], str], introduction: str) -> str:
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
    raise Unexplained(f"The type of {trait.name} ({type(trait).__name__}) has no words in docs/generate.py.")


def _default(place: tuple[str, str], trait: TraitType[object, object]) -> str:
    if place in _WORKED_OUT:
        return _WORKED_OUT[place]
    value = trait.default()
    if value is None:
        return "none"
    if value == "":
        if place not in _UNSET:
            raise Unexplained(f"What {'.'.join(place)} is when it is empty has no words in docs/generate.py.")
        return _UNSET[place]
    if isinstance(value, list | tuple | dict):
        return "none" if not value else f"`{value!r}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


# --- the errors ------------------------------------------------


def errors_page() -> str:
    """Return the page about everything that a person is told has gone wrong."""
    rows = [f"| {'&emsp;' * depth}`{kind.code}` | {kind.status} | {_meaning(kind)} |" for depth, kind in _tree()]
    table = "\n".join(["| code | status | meaning |", "| --- | --- | --- |", *rows])
    parts = [_heading("Errors", "`guix_environment/errors.py`"), _ERRORS, table, _ERRORS_ELSEWHERE]
    return "\n\n".join(parts) + "\n"


def _tree(parent: type[GuixSpawnerError] = GuixSpawnerError, depth: int = 0) -> Iterator[tuple[int, type[GuixSpawnerError]]]:
    """Yield every kind of error below PARENT with its depth, in the order of the file."""
    for error in vars(errors).values():
        if isinstance(error, type) and error.__bases__ == (parent,):
            yield depth, error
            yield from _tree(error, depth + 1)


def _meaning(error: type[GuixSpawnerError]) -> str:
    if not error.__doc__:
        raise Unexplained(f"{error.__name__} has no sentence that says what it means.")
    return " ".join(inspect.cleandoc(error.__doc__).split())


# --- both ------------------------------------------------


def _heading(title: str, source: str) -> str:
    return f"<!-- Written from {source} by `{COMMAND}`; do not change it here. -->\n\n# {title}"


def _replaced(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
