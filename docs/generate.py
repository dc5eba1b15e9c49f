"""Write those pages of the reference that say what the code says: the command line, the configuration, the errors.

python docs/generate.py            write them
python docs/generate.py --check    fail when they are not what they would be
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from reference_pages.command_line import command_line_page
from reference_pages.configuration import configuration_page
from reference_pages.errors import errors_page
from reference_pages.manifests import manifests_page
from reference_pages.page import COMMAND, Unexplained

REFERENCE = Path(__file__).resolve().parent / "reference"


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
