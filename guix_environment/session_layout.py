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

KERNEL_LAUNCHER = f"{SCRIPTS}/kernel.sh"
"""Goes before a kernel's own command: takes what is the server's alone out of the kernel's environment."""

SHELL = f"{SCRIPTS}/shell.sh"
"""What a terminal runs: a shell with the profile's variables and nothing of the server's."""

SHELL_VARIABLES = f"{FOLDER}/variables.sh"
"""The profile's variables, in the words of a shell."""
