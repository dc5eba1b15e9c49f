"""Where a session finds things inside its container: what the kernel specifications and the spawner agree on."""

FOLDER = "/run/guix-environment"
"""Everything that the installation puts into a session, read-only."""

VERSION = f"{FOLDER}/version"
"""The folder of the version's record; its kernel specifications are in ``kernels`` below, as Jupyter looks for them."""

REPOSITORY = f"{FOLDER}/repository.git"
"""The bare repository that the person's working copy is made from."""

SCRIPTS = f"{FOLDER}/session"
"""The programs that prepare a session, a terminal and a kernel."""

PYTHON = f"{SCRIPTS}/python"
"""Where the server finds the package `guix_session`."""

SOCKETS = f"{FOLDER}/sockets"
"""The session's own folder, in which its server listens."""

SERVER_SOCKET = f"{SOCKETS}/server.sock"
"""Where it listens."""

GATEWAY = f"{FOLDER}/gateway"
"""The folder of the ways out that every session has."""

HUB_SOCKET = f"{GATEWAY}/hub.sock"
"""The hub's API, and nothing else of it."""

FILTER_SOCKET = f"{GATEWAY}/filter.sock"
"""A proxy for HTTP and HTTPS that lets through what the administrator allows."""

KERNEL_LAUNCHER = f"{SCRIPTS}/kernel.sh"
"""Goes before a kernel's own command: takes what is the server's alone out of the kernel's environment."""

SHELL = f"{SCRIPTS}/shell.sh"
"""What a terminal runs: a shell with the profile's variables and nothing of the server's."""

SHELL_VARIABLES = f"{FOLDER}/variables.sh"
"""The profile's variables, in the words of a shell."""
