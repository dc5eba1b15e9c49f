"""The page about everything that can be configured: the call of `configure`, and a section for each class."""

import inspect
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from traitlets.config import Config

from guix_build_service.program.application import BuildService
from guix_build_service.settings.credentials import CredentialKeys
from guix_build_service.settings.evaluation import ManifestEvaluation
from guix_build_service.settings.isolation import Isolation
from guix_build_service.settings.login_tokens import LoginTokenHosts
from guix_build_service.settings.retention import Retention
from guix_build_service.settings.ssh import SshHosts
from guix_build_service.web.limits import RequestLimits
from guixspawner import configure
from guixspawner.accounts import SessionAccounts
from guixspawner.folders import SessionFolders
from guixspawner.life import SessionLife
from guixspawner.limits import SessionLimits
from guixspawner.network.settings import SessionNetwork
from guixspawner.spawner import GuixSpawner
from reference_pages.page import heading
from reference_pages.traits import traits_section

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

What is more than a few words stands in a configuration file of its own, which `configure` is told of:
`service_configuration=Path("/etc/guixspawner/service_config.py")`. It has lines such as
`c.BuildService.running_builds = 4`."""

_REQUESTS = """\
Likewise in the service's process: `--RequestLimits.changes_a_minute=60`."""

_EVALUATION = """\
Likewise in the service's process: `--ManifestEvaluation.repositories=git.example.edu`. [Manifests that are
run](../explanation/manifests.md) tells within which walls."""

_ISOLATION = """\
Likewise in the service's process: `--Isolation.level=people`. [Isolation](../howto/isolation.md) tells what the levels
are."""

_RETENTION = """\
Likewise in the service's process: `--Retention.unused_days=90`. [Keep the disk from filling up](../howto/disk.md) tells what
goes and what stays."""

_CREDENTIALS = """\
Likewise; [Private repositories](../howto/private-repositories.md) tells what for."""

_SSH = """\
Likewise: `--SshHosts.known_hosts=/etc/guix-known-hosts`. [Private
repositories](../howto/private-repositories.md#repositories-over-ssh) tells how."""

_LOGIN_TOKENS = """\
Likewise; [Private repositories](../howto/private-repositories.md#the-token-of-a-login) tells what for."""

_SECTIONS = ("GuixSpawner", "SessionLife", "SessionLimits", "SessionNetwork")
"""Of what `configure` sets, that which is in the reference."""

_STATE = "STATE"
"""How a page calls the folder that `configure` is given."""


def configuration_page() -> str:
    """Return the page about everything that can be configured."""
    given = configured_values()
    parts = [
        heading("Configuration", "the code's own descriptions"),
        _CONFIGURATION,
        _configure_section(),
        traits_section(GuixSpawner, given, _SPAWNER),
        traits_section(SessionAccounts, given, _ACCOUNTS),
        traits_section(SessionFolders, given, _FOLDERS),
        traits_section(SessionLife, given, _LIFE),
        traits_section(SessionLimits, given, _LIMITS),
        traits_section(SessionNetwork, given, _NETWORK),
        traits_section(BuildService, given, _SERVICE),
        traits_section(ManifestEvaluation, given, _EVALUATION),
        traits_section(Isolation, given, _ISOLATION),
        traits_section(Retention, given, _RETENTION),
        traits_section(RequestLimits, given, _REQUESTS),
        traits_section(CredentialKeys, given, _CREDENTIALS),
        traits_section(SshHosts, given, _SSH),
        traits_section(LoginTokenHosts, given, _LOGIN_TOKENS),
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


def _replaced(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        text = text.replace(old, new)
    return text
