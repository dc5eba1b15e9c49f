"""What is believed of a program that says what a manifest's packages are built of, and the manifest written of it."""

import pytest

from guix_build_service.definitions.answer import defined, derivations
from guix_build_service.manifest.canonical import PackageList, environment_key
from guix_build_service.manifest.kernels import with_kernels
from guix_environment.errors import DefinitionsRefused, EvaluationFailed

DERIVATION = "/gnu/store/0123456789abcdfghijklmnpqrsvwxyz-mine-1.0.drv"
OTHER = "/gnu/store/zyxwvsrqpnmlkjihgfdcba9876543210-other-1.0.drv"
PATH = '("PATH" ("bin" "sbin") ":" directory #f)'


def mine(paths: str = PATH, propagated: str = "", *, name: str = "mine", output: str = "out") -> str:
    return f'("{name}" "1.0" "{output}" derivation "{DERIVATION}" ({paths}) ({propagated}))'


def test_the_manifest_names_the_derivation() -> None:
    found = defined(f'(packages {mine()} ("sed" "4.9" "out" specification))')
    assert found.manifest() == (
        "(use-modules (guix derivations) (guix search-paths))\n"
        "(manifest\n"
        '  (list (manifest-entry (name "mine") (version "1.0") (output "out")'
        f' (item (read-derivation-from-file "{DERIVATION}"))'
        ' (search-paths (list (sexp->search-path-specification \'("PATH" ("bin" "sbin") ":" directory #f))))'
        " (dependencies (list )))\n"
        '        (package->manifest-entry (specification->package "sed@4.9") "out")))\n'
    )
    assert found.specifications() == ("mine@1.0", "sed@4.9")
    assert derivations(found) == [DERIVATION]


def test_another_derivation_is_another_environment() -> None:
    first = defined(f"(packages {mine()})")
    second = defined(f"(packages {mine()})".replace(DERIVATION, OTHER))
    keys = {environment_key(packages, "guix", "x86_64-linux", 1) for packages in (first, second, first)}
    assert len(keys) == 2


def test_what_is_needed_to_build_one_is_told_from_what_is_asked_for() -> None:
    found = defined(f"(packages {mine().replace(' derivation ', ' development ')} {mine()})")
    assert found.specifications() == ("mine@1.0",)
    assert found.manifest().count("(properties '((development . #t)))") == 1
    assert derivations(found) == [DERIVATION]


def test_what_it_propagates_comes_with_it() -> None:
    inner = f'("other" "1.0" "lib" derivation "{OTHER}" () (("sed" "4.9" "out" specification)))'
    found = defined(f"(packages {mine('', inner)})")
    assert derivations(found) == [DERIVATION, OTHER]
    assert found.manifest().count("manifest-entry") == 3


def test_a_kernel_is_added_for_a_python_of_its_own() -> None:
    found = with_kernels(defined(f"(packages {mine(name='python-mine')})"))
    assert found.added == ("python", "python-ipykernel")
    assert isinstance(found, PackageList)


@pytest.mark.parametrize(
    "answer",
    [
        "", "(packages", "(packages . 1)", "(no-manifest)", "(packages) (packages)", "(packages (1 2))",
        "(packages " + mine().replace(DERIVATION, "/etc/passwd") + ")",
        "(packages " + mine().replace(".drv", "") + ")",
        "(packages " + mine('("PATH" ("bin") 1 directory #f)') + ")",
        "(packages " + mine('("PATH" ("bin") ":" directory #t)') + ")",
        "(packages " + mine("", "(" * 500) + ")",
    ],
)  # fmt: skip
def test_any_other_answer_is_refused(answer: str) -> None:
    with pytest.raises(EvaluationFailed):
        defined(answer)


@pytest.mark.parametrize(
    "entry",
    [
        '("mine" "1.0" "out" own)', mine().replace("derivation", "own"),
        mine(name="a b"), mine(name='\\"x'), mine(output="../x"), mine("("),
        mine('("LD PRELOAD" ("bin") ":" directory #f)'), mine('("PATH" ("../../etc") ":" directory #f)'),
        mine('("PATH" ("/etc") ":" directory #f)'), mine('("PATH" ("bin") "\\n" directory #f)'),
        mine('("PATH" ("bin") ":" device #f)'), mine('("PATH" ("bin") ":")'), mine('("PATH" (1) ":" directory #f)'),
    ],
)  # fmt: skip
def test_what_is_of_another_form_is_not_built(entry: str) -> None:
    with pytest.raises((DefinitionsRefused, EvaluationFailed)) as caught:
        defined(f"(packages {entry})")
    assert caught.value.hint


def test_what_keeps_guix_from_saying_is_told_in_one_harmless_line() -> None:
    with pytest.raises(EvaluationFailed, match=r"built of: no such file \[31m\.$"):
        defined('(failed "no such\nfile \x1b[31m")')
