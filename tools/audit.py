"""Look whether vulnerabilities are known of what the locks name, and fail where that cannot be known.

    python tools/audit.py [LOCK …]     of all locks in requirements/ unless some are named

pip-audit asks the Python Package Index.  Where that, or what stands for it, knows nothing of vulnerabilities, a package
without known ones looks the same as one that nobody was asked about.  So one that has some is asked for first.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

CHECKOUT = Path(__file__).resolve().parent.parent
KNOWN = "jinja2==2.10"
"""It has had CVE-2019-10906, among others, since 2019."""

UNKNOWN = 2
"""The exit status where nothing is known."""


def main(locks: Sequence[str]) -> int:
    """Ask about what LOCKS name, say what is known, and return the exit status: 1 where something is known against one."""
    if said := what_hinders():
        print(said, file=sys.stderr)
        print(
            "So nothing is known of the packages in the locks, neither good nor bad.\n"
            "Run this where https://pypi.org/pypi/jinja2/2.10/json tells of vulnerabilities.",
            file=sys.stderr,
        )
        return UNKNOWN
    results = [_audit("--require-hashes", "--requirement", lock) for lock in locks]
    return max(result.returncode for result in results)


def what_hinders() -> str:
    """Return why the answers would mean nothing, in a sentence; empty where they mean something."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "known.txt"
        file.write_text(KNOWN)
        answer = _audit("--no-deps", "--format=json", "--requirement", str(file), capture=True)
    try:
        [asked] = json.loads(answer.stdout)["dependencies"]
        found = asked["vulns"]
    except (ValueError, KeyError):
        reason = answer.stderr.strip().splitlines()[-1:] or ["It says nothing."]
        return f"The database of vulnerabilities cannot be read: {reason[0].rpartition('_cli:')[2]}"
    return "" if found else f"The database of vulnerabilities has nothing on {KNOWN}, of which some are known."


def _audit(*words: str, capture: bool = False) -> subprocess.CompletedProcess[str]:
    command: Sequence[str] = (
        sys.executable,
        "-m",
        "pip_audit",
        "--strict",
        "--disable-pip",
        "--progress-spinner=off",
        *words,
    )
    # What was asked for before must not answer in its place.
    with TemporaryDirectory() as cache:
        return subprocess.run([*command, "--cache-dir", cache], capture_output=capture, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or sorted(map(str, (CHECKOUT / "requirements").glob("*.lock")))))
