"""What the script for channels is asked and answers, as text; `test_pinned_channels` has Guix itself do it."""

import pytest

from guix_build_service.manifest.allowed_channels import AllowedChannel
from guix_build_service.manifest.pinned_channels import PinnedChannel
from guix_build_service.manifest.reader import read_all
from guix_build_service.manifest.values import Introduction
from guix_build_service.pipeline.channel_answers import obtained, request
from guix_environment.errors import BuildFailure

COMMIT = "a" * 40
PROFILE = "/gnu/store/0123456789abcdfghijklmnpqrsvwxyz-profile"
GUIX = PinnedChannel("guix", "https://example.org/guix.git", "master", "", Introduction(COMMIT, "AB"), COMMIT)
PINNED = f'("guix" "https://example.org/guix.git" "master" "{COMMIT}" "{COMMIT}" "AB" "{COMMIT}")'
OTHER = f'("lab" "file:///srv/lab" "main" "{COMMIT}" "" "" "")'


def test_what_is_asked_is_strings_alone() -> None:
    lab = AllowedChannel("lab", ("file:///srv/lab", 'file:///srv/"lab'), None)
    text = request([GUIX], [lab], "/var/guix/x", silent_seconds=60, seconds=600)
    assert text.startswith(
        f'((("guix" "https://example.org/guix.git" "master" "" "{COMMIT}" "AB" "{COMMIT}")) (("guix" ("https://git.guix.gnu.org'
    )
    assert text.endswith(' ("lab" ("file:///srv/lab" "file:///srv/\\"lab") "" "" "")) "/var/guix/x" 60 600)\n')


def test_a_guix_is_known_with_what_its_channels_depend_on() -> None:
    [answer] = read_all(f'(ready "{PROFILE}" ({PINNED} {OTHER}))')
    profile, channels = obtained(answer, [GUIX])
    assert profile == PROFILE
    assert [(channel.name, channel.is_pinned, channel.introduction is None) for channel in channels] == [
        ("guix", True, False),
        ("lab", True, True),
    ]


@pytest.mark.parametrize(
    "text",
    [
        f'(ready "{PROFILE}" ({OTHER}))',
        f'(ready "{PROFILE}" ())',
        f'(ready "{PROFILE}" (("guix")))',
        f'(ready "{PROFILE}" (1))',
        '(missing "lab")',
        "(missing lab x)",
        '(other "lab")',
        '"ready"',
    ],
)
def test_any_other_answer_is_a_fault_of_ours(text: str) -> None:
    [answer] = read_all(text)
    with pytest.raises(BuildFailure):
        obtained(answer, [GUIX])
