"""Run a command where there is a Guix: this machine's own, or one in a folder of this checkout.

    python tools/with_guix.py pytest -m guix

The folder is ``.cache/guix``, or GUIXLAB; it is provisioned when it is empty, and its daemons end with the command, unless
they ran before it: then somebody else may need them.
"""

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from demo.guix import FolderGuix, has_guix  # noqa: E402 - found only once the checkout is on the path
from demo.settings import UnsuitableGround  # noqa: E402
from guixlab.daemons import is_up  # noqa: E402
from guixlab.errors import LabError  # noqa: E402
from guixlab.folder import Folder  # noqa: E402
from guixlab.host import install_host, require_root, require_user_namespaces  # noqa: E402


def main(command: list[str]) -> int:
    """Run COMMAND and return its exit status."""
    if has_guix():
        return subprocess.run(command, check=False).returncode
    require_root()
    install_host()
    require_user_namespaces()
    folder = Path(os.environ.get("GUIXLAB") or CHECKOUT / ".cache" / "guix")
    # Tests send nothing beyond this machine, so the substitute servers are not even asked whether they answer.
    others = is_up(Folder(folder.absolute())) is not None
    guix = FolderGuix(folder, os.environ.get("GUIX_CONTENTS") or "stand-ins")
    try:
        guix.provide()
        return subprocess.run(guix.inside(command), check=False).returncode
    finally:
        if not others:
            guix.end()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (UnsuitableGround, LabError) as error:
        sys.exit(str(error))
