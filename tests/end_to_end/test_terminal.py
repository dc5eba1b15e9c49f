"""A terminal of a session has the profile's programs before all others, and nothing of the server's."""

import pytest

from guix_environment.identifiers import EnvironmentId, VersionId
from guix_environment.records import Records
from tests.end_to_end.conftest import Installation
from tests.end_to_end.rest import Client
from tests.end_to_end.terminal import run_in_terminal
from tests.end_to_end.test_examples import PYTHON, R

pytestmark = [pytest.mark.guix, pytest.mark.hub, pytest.mark.timeout(900)]


@pytest.mark.parametrize(("example", "program"), [(PYTHON, "python3"), (R, "Rscript")])
def test_a_terminal_has_the_profiles_programs_first(
    installation: Installation, quiet: Client, example: str, program: str
) -> None:
    environment = quiet.environments()[example]
    records = Records(installation.state / "records")
    version = records.read_version(EnvironmentId(environment["id"]), VersionId(environment["version"]["id"]))
    session = quiet.start(environment["id"])
    found, which, path, tool, secret, told = run_in_terminal(
        quiet,
        session,
        f"command -v {program}",
        f"which {program}",
        "echo $PATH",
        "command -v git",
        "env | grep -E '^(JUPYTERHUB_API_TOKEN|JPY_API_TOKEN)=' | wc -l",
        f"{program} --version",
    )
    assert found == which == f"{version.profile}/bin/{program}"
    assert path.split(":")[0] == f"{version.profile}/bin"
    assert all(part.startswith("/gnu/store/") for part in path.split(":")), path
    assert tool.startswith("/gnu/store/")
    assert secret == "0"
    assert ("Python 3." if program == "python3" else "R") in told
    quiet.stop(environment["id"])
