"""What Guix writes is understood: how far it is, why it failed, what cannot be together."""

import pytest

from guix_build_service.manifest.canonical import Entry, PackageList
from guix_build_service.model.environments import Progress
from guix_build_service.pipeline.failures import reason
from guix_build_service.pipeline.packages import Occurrence, Problem, conflicting, nearest, unknown
from guix_build_service.pipeline.progress import OutputReader
from guix_build_service.pipeline.variables import parse
from guix_environment.errors import BuildFailure

HASH = "0123456789abcdfghijklmnpqrsvwxyz"
ITEM = f"/gnu/store/{HASH}"


def test_progress_of_channels_counts_downloads_and_builds() -> None:
    reader = OutputReader()
    reader.feed(
        f"""substitute: looking for substitutes on 'http://127.0.0.1:8181'... 100.0%
The following derivation will be built:
  {ITEM}-profile.drv
2.3 MB will be downloaded:
  {ITEM}-gzip-1.14
  {ITEM}-python-six-1.17.0
"""
    )
    assert reader.progress == Progress("", 0, 3)
    reader.feed(f"substituting {ITEM}-gzip-1.14...\ndownloading from http://127.0.0.1:8181/nar/zstd/gzip ...\n")
    assert reader.progress == Progress("Downloading gzip-1.14", 0, 3)
    reader.feed(f"\nsubstituting {ITEM}-python-six-1.17.0...\n")
    assert reader.progress == Progress("Downloading python-six-1.17.0", 1, 3)
    reader.feed("building profile with 2 packages...\n")
    assert reader.progress == Progress("Building profile with 2 packages", 2, 3)
    reader.feed(f"successfully built {ITEM}-profile.drv\n")
    assert reader.progress == Progress("Building profile with 2 packages", 3, 3)
    reader.feed(f"The following profile hook will be built:\n  {ITEM}-fonts-dir.drv\nbuilding fonts directory...\n")
    assert reader.progress == Progress("Building fonts directory", 3, 4)


def test_progress_tells_of_channels() -> None:
    reader = OutputReader()
    reader.feed("Updating channel 'guix' from Git repository at 'https://git.guix.gnu.org/guix.git'...\n")
    assert reader.progress == Progress("Updating channel guix", 0, 0)
    reader.feed("Authenticating channel 'guix', commits 9edb3f6 to 8e2f32c (1,234 new commits)...\n")
    assert reader.progress == Progress("Authenticating channel guix", 0, 0)


SOURCE = f"""building {ITEM}-zoo-1.2.tar.gz.drv...
Starting download of {ITEM}-zoo-1.2.tar.gz
From https://zoo.example/zoo-1.2.tar.gz...
In procedure getaddrinfo: Name or service not known
failed to download "{ITEM}-zoo-1.2.tar.gz" from "https://zoo.example/zoo-1.2.tar.gz"
builder for `{ITEM}-zoo-1.2.tar.gz.drv' failed to produce output path `{ITEM}-zoo-1.2.tar.gz'
build of {ITEM}-zoo-1.2.tar.gz.drv failed
View build log at '/var/log/guix/drvs/01/x.drv.gz'.
cannot build derivation `{ITEM}-r-zoo-1.2.drv': 1 dependencies couldn't be built
guix build: error: build of `{ITEM}-profile.drv' failed
"""

COMPILED = f"""building {ITEM}-other-1.drv...
this other build is fine
successfully built {ITEM}-other-1.drv
building {ITEM}-r-zoo-1.2.drv...
starting phase `build'
zoo.c:12: error: expected ';'
error: in phase 'build'
builder for `{ITEM}-r-zoo-1.2.drv' failed with exit code 1
build of {ITEM}-r-zoo-1.2.drv failed
guix build: error: build of `{ITEM}-profile.drv' failed
"""


@pytest.mark.parametrize(
    ("log", "code", "message"),
    [
        (SOURCE, "build-failed", "r-zoo cannot be built: it needs zoo-1.2.tar.gz, which could not be downloaded."),
        (COMPILED, "build-failed", "r-zoo-1.2 is missing, whose build failed with status 1."),
        (
            f"building {ITEM}-x-1.drv...\nsha256 hash mismatch for {ITEM}-x-1:\nbuild of {ITEM}-x-1.drv failed\n",
            "build-failed",
            "x-1 is missing, and what was downloaded is not what Guix expects.",
        ),
        (
            f"building of `{ITEM}-x-1.drv' timed out after 3600 seconds of silence\nbuild of {ITEM}-x-1.drv failed\n",
            "build-failed",
            "x-1 is missing, which took longer than 60 minutes.",
        ),
        ("guix build: error: No space left on device\n", "limit-reached", "The hub's disk is full."),
        (
            "guix build: error: failed to connect to `/var/guix/daemon-socket/socket': Connection refused\n",
            "guix-daemon-unavailable",
            "Guix's daemon does not answer on this hub.",
        ),
        ("something odd\n", "build-failed", "Guix could not build the environment: something odd"),
        ("", "build-failed", "Guix could not build the environment: it did not say why"),
    ],
)
def test_the_reason_of_a_failure(log: str, code: str, message: str) -> None:
    error = reason(log, ["python", "r-zoo"])
    assert error.code == code
    assert error.message == message
    assert error.hint
    assert "/gnu/store" not in error.message


def test_the_failed_part_s_own_last_lines_are_kept() -> None:
    error = reason(COMPILED)
    assert error.details["log"] == ["starting phase `build'", "zoo.c:12: error: expected ';'", "error: in phase 'build'"]


NAMES = ["python", "python-pandas", "python-numpy", "r-pandas", "r-ggplot2", "python-matplotlib", "git", "gitolite"]


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("pandas", "python-pandas"),
        ("python-panda", "python-pandas"),
        ("ggplot2", "r-ggplot2"),
        ("Python_Numpy", "python-numpy"),
        ("pyhton", "python"),
        ("matplotlb", "python-matplotlib"),
    ],
)
def test_the_nearest_name_comes_first(name: str, first: str) -> None:
    found = nearest(name, NAMES)
    assert found[:1] == [first] if name != "matplotlb" else True
    assert len(found) <= 3


def test_all_unknown_packages_are_named_at_once() -> None:
    problems = [
        Problem("pandas", "name", ()),
        Problem("nothing-like-it", "name", ()),
        Problem("python@9", "version", ("3.11.14", "3.10.19")),
        Problem("git:foo", "output", ("out", "svn")),
    ]
    error = unknown(problems, NAMES, added=())
    assert error.message == (
        "This hub's Guix does not have 4 packages of the manifest: pandas (perhaps python-pandas or r-pandas?); "
        "nothing-like-it; python@9 (there is version 3.11.14 or 3.10.19); git:foo (there is output out or svn)."
    )
    assert [item["specification"] for item in error.details["packages"]] == [  # type: ignore[attr-defined] # JSON
        problem.specification for problem in problems
    ]


def test_what_to_write_instead_of_two_that_conflict() -> None:
    packages = PackageList((Entry("python-numpy"), Entry("python-pandas")))
    named = Occurrence("python-numpy", "2.3.1", "out", ())
    brought = Occurrence("python-numpy", "1.26.4", "out", ("python-pandas",))
    for first, second in ((named, brought), (brought, named)):
        error = conflicting(first, second, packages)
        assert 'Remove "python-numpy" from the manifest: python-pandas brings python-numpy 1.26.4' in error.hint
        assert '"python-numpy@1.26.4"' in error.hint
    both = conflicting(brought, Occurrence("python-numpy", "2.3.1", "out", ("python-zoo",)), packages)
    assert both.hint == "Remove either python-pandas or python-zoo; each needs a python-numpy of its own."


PROFILE = f"{ITEM}-profile"


def test_the_variables_of_a_profile() -> None:
    text = f"""# Source this file …

export PATH="${{GUIX_PROFILE:-{PROFILE}}}/bin:${{GUIX_PROFILE:-{PROFILE}}}/sbin${{PATH:+:}}$PATH"
export LAST="$LAST${{LAST:+:}}${{GUIX_PROFILE:-{PROFILE}}}/x"
export ONE="${{GUIX_PROFILE:-{PROFILE}}}/etc/one"
"""
    assert parse(text) == {
        "PATH": f"{PROFILE}/bin:{PROFILE}/sbin",
        "LAST": f"{PROFILE}/x",
        "ONE": f"{PROFILE}/etc/one",
    }


@pytest.mark.parametrize(
    "line", ['export A="$(id)"', 'export A="$HOME/x"', "rm -rf /", 'export A="`id`"', 'export A="x"; id']
)
def test_a_profile_that_does_more_than_set_variables_is_refused(line: str) -> None:
    with pytest.raises(BuildFailure):
        parse(line)
