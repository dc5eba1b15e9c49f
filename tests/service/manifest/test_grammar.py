"""The forms by which people name packages are understood; everything else is refused with the reason."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guix_build_service.manifest.canonical import Entry, Kind, PackageList, environment_key, request_key
from guix_build_service.manifest.grammar import read_manifest
from guix_build_service.manifest.kernels import with_kernels
from guix_build_service.manifest.reasons import REASONS, reason_of
from guix_environment.errors import ManifestUnreadable

SRFI_1 = "(use-modules (srfi srfi-1)) "


@pytest.mark.parametrize(
    ("text", "packages"),
    [
        # One literal list: six of ten manifests.
        (
            '(specifications->manifest (list "python" "python-scipy@1" "git:send-email"))',
            "python python-scipy@1 git:send-email",
        ),
        ('(specifications->manifest \'("python" #;"gdb" "sed"))', "python sed"),
        ('(use-modules (guix profiles)) (specifications->manifest `("a" "b"))', "a b"),
        ('(define-module (mine) #:use-module (gnu packages)) (specifications->manifest (quote ("a")))', "a"),
        ("(specifications->manifest (list))", ""),
        ('(specifications->manifest (list "a" "b" "a"))', "a b"),
        # Lists put together.
        ('(define lab (list "r-minimal" "r-zoo")) (specifications->manifest (cons "make" lab))', "make r-minimal r-zoo"),
        ('(specifications->manifest (cons* "a" "b" (list "c")))', "a b c"),
        ('(specifications->manifest (append (list "a") \'("b") (list)))', "a b"),
        ('(let ((x "a") (y (list "b"))) (specifications->manifest (cons x y)))', "a b"),
        ('(let* ((x "a") (y (list x))) (specifications->manifest y))', "a"),
        ('(define x (list "b")) (specifications->manifest `("a" ,@x ,"c"))', "a b c"),
        ('(begin (define x "a") (specifications->manifest (list x)))', "a"),
        ('(define m (specifications->manifest (list "a"))) m', "a"),
        # Lists searched, and treated as sets.
        ('(specifications->manifest (delete! "b" (list "a" "b")))', "a"),
        (SRFI_1 + '(specifications->manifest (delete "b" (list "a" "b" "c" "b")))', "a c"),
        ('(specifications->manifest (cdr (memq (quote x) `(a x "b" "c"))))', "b c"),
        ('(specifications->manifest (assq-ref `((lab "a" "b") (desk "c")) (quote lab)))', "a b"),
        (
            SRFI_1 + '(specifications->manifest (lset-adjoin equal? (list "a" "b") "c" "a" "d"))',
            "d c a b",
        ),
        (
            SRFI_1 + '(specifications->manifest (lset-union string=? (list "a") (list "b" "a" "c")))',
            "c b a",
        ),
        (
            SRFI_1 + '(specifications->manifest (lset-difference equal? (list "a" "b" "c") (list "b")))',
            "a c",
        ),
        (
            SRFI_1 + '(specifications->manifest (lset-intersection equal? (list "a" "b" "c") (list "c" "a")))',
            "a c",
        ),
        (SRFI_1 + '(specifications->manifest (append-reverse (list "a" "b") (list "c")))', "b a c"),
        # Strings taken apart.
        ('(specifications->manifest (string-tokenize " a b@1  git:gui\n"))', "a b@1 git:gui"),
        ('(specifications->manifest (map string-trim-both (string-split "a, b ,c" #\\,)))', "a b c"),
        ('(specifications->manifest (list (string-concatenate (list "r-" "zoo")) (string-trim-right "a ")))', "r-zoo a"),
        ('(specifications->manifest (filter (lambda (x) (string-contains x "-")) (list "a" "r-a")))', "r-a"),
        # Channels that nothing is asked of.
        (
            '(use-modules (guix channels)) (define pinned (list (channel (name \'guix) (url "https://git.example/guix.git")'
            ' (introduction (make-channel-introduction "9edb3f66" (openpgp-fingerprint "'
            + "AB12 " * 10
            + '")))))) (define (inferior) (inferior-for-channels pinned)) (specifications->manifest (list "a"))',
            "a",
        ),
        # Manifests put together.
        (
            '(concatenate-manifests (list (specifications->manifest (list "a")) (specifications->manifest (list "b"))))',
            "a b",
        ),
        # Packages looked up.
        ('(packages->manifest (list (specification->package "a") (list (specification->package "b") "out")))', "a b"),
        ('(packages->manifest `((,(specification->package "glib") "bin")))', "glib:bin"),
        ('(packages->manifest (map specification->package \'("a" "b@2")))', "a b@2"),
        ('(packages->manifest (map (compose list specification->package+output) \'("glib:bin" "a")))', "glib:bin a"),
        # Where one value is expected Guix drops the second, the output.
        ('(packages->manifest (map specification->package+output \'("glib:bin")))', "glib"),
        ('(packages->manifest (specifications->packages (list "glib:bin")))', "glib:bin"),
    ],
)
def test_the_packages_of_a_manifest(text: str, packages: str) -> None:
    assert " ".join(read_manifest(text).packages.specifications()) == packages


def test_what_a_package_needs_to_be_developed() -> None:
    text = """(concatenate-manifests (list (specifications->manifest '("gdb"))
                                 (package->development-manifest (specification->package "hello"))))"""
    packages = read_manifest(text).packages
    assert packages.entries == (Entry("gdb"), Entry("hello", Kind.DEVELOPMENT, part=1))
    assert read_manifest(packages.manifest()).packages == packages


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("", 1, 1, "ends with nothing, not with a manifest"),
        ('(list "a")', 1, 1, "ends with a list, not with a manifest"),
        ('(specifications->manifest (list "a"))\n(define x 1)', 2, 1, "ends with nothing"),
        ('(system* "rm" "-rf" "/")', 1, 1, "would run a program"),
        ("(nosuch 1)", 1, 1, "(nosuch …) is not a form"),
        ("(specifications->manifest (list 1))", 1, 1, "a package's name is expected"),
        ('(specifications->manifest (list "a b"))', 1, 1, "is not the name of a package"),
        ('(specifications->manifest (list "--with-source=x"))', 1, 1, "is not the name of a package"),
        ('(specifications->manifest "a")', 1, 1, "a list is expected"),
        ('(specifications->manifest (map car (list "a")))', 1, 27, "a string has no part car"),
        ("((lambda () 1))", 1, 1, "ends with a number"),
        ('(packages->manifest (list (specification->package "a:b")))', 1, 27, "without an output"),
        ("`(a `(b))", 1, 5, "quasiquote within another"),
        ("(cons 1)", 1, 1, "too few"),
        ("(let)", 1, 1, "no bindings"),
        ("(define)", 1, 1, "definition"),
    ],
)
def test_other_forms_are_refused_with_place_and_reason(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(ManifestUnreadable) as raised:
        read_manifest(text)
    assert words in raised.value.message
    assert raised.value.details == {"line": line, "column": column}
    assert raised.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # A variable of Guix's modules may hold a package, a list or anything else.
        ('(specifications->manifest (if (null? mine) (list "a") (list "b")))', "what mine holds, only Guix knows"),
        ('(specifications->manifest (if (pair? mine) (list "a") (list "b")))', "what mine holds, only Guix knows"),
        ('(specifications->manifest (if (string? mine) (list "a") (list "b")))', "what mine holds, only Guix knows"),
        ('(specifications->manifest (if (equal? mine "x") (list "a") (list "b")))', "the same, only Guix could tell"),
        ('(specifications->manifest (if (member "x" (list mine)) (list "a") (list "b")))', "the same, only Guix could tell"),
        (
            "(use-modules (ice-9 match)) (specifications->manifest (match mine ((a b ...) (list a)) (_ (list))))",
            "what mine holds, only Guix knows",
        ),
        ("(use-modules (ice-9 match)) (specifications->manifest (match mine (() (list)) (_ (list))))", "only Guix knows"),
        # Two strings of the same letters need not be one object.
        ('(specifications->manifest (assq-ref `(("lab" "a")) "lab"))', "whether these two are one object is not known"),
        ('(specifications->manifest (memq "a" (list "a")))', "whether these two are one object is not known"),
        # (gnu), which each manifest uses, makes another thing of it.
        ('(specifications->manifest (delete "a" (list "a" "b")))', "delete is in the module"),
        (
            '(use-modules (srfi srfi-1) (gnu services)) (specifications->manifest (delete "a" (list "a" "b")))',
            "delete is a word of",
        ),
        # Which of these are space, and which print, Guile has a list of its own.
        ('(specifications->manifest (string-tokenize "a\u3000b"))', "characters beyond ASCII"),
        ('(specifications->manifest (list (string-trim "\u3000b")))', "characters beyond ASCII"),
    ],
)
def test_what_is_not_known_for_certain_decides_nothing(text: str, words: str) -> None:
    with pytest.raises(ManifestUnreadable, match=words):
        read_manifest(text)


def test_names_may_be_in_a_variable_of_another_module() -> None:
    text = '(use-modules (mine lab)) (specifications->manifest (append (list "make") tools (@ (mine desk) more)))'
    packages = read_manifest(text).packages
    assert [(entry.specification, entry.named.value, entry.module) for entry in packages.entries] == [
        ("make", "specification", ()),
        ("tools", "names", ()),
        ("more", "names", ("mine", "desk")),
    ]
    assert "(specifications->packages tools) (specifications->packages (@ (mine desk) more))" in packages.manifest()
    assert read_manifest(packages.manifest()).packages == packages
    looked_up = "(use-modules (mine lab)) (packages->manifest (specifications->packages tools))"
    assert read_manifest(looked_up).packages.entries == (packages.entries[1],)


def test_a_package_may_be_called_as_a_procedure_that_nobody_asked_for() -> None:
    # `reduce` is one of (gnu packages algebra), and a procedure of SRFI 1.
    text = "(use-modules (srfi srfi-1) (gnu packages algebra)) (packages->manifest (list reduce))"
    assert [entry.name for entry in read_manifest(text).packages.entries] == ["reduce"]


def test_a_file_with_a_module_of_its_own_is_not_loaded() -> None:
    # What it defines, the file that loads it would not see.
    files = {"a.scm": '(define-module (a)) (define names \'("a"))'}
    with pytest.raises(ManifestUnreadable, match="define-module is read at the beginning of a manifest alone"):
        read_manifest('(load "a.scm") (specifications->manifest names)', file="manifest.scm", files=files)


def test_modules_that_a_guix_may_lack_are_kept_for_it_to_look_for() -> None:
    text = '(use-modules (guix profiles) (mine lab) ((srfi srfi-1) #:select (first))) (specifications->manifest (list "a"))'
    packages = read_manifest(text).packages
    assert packages.manifest().splitlines()[0] == "(use-modules (mine lab) ((srfi srfi-1) #:select (first)))"
    assert read_manifest(packages.manifest()).packages == packages
    usual = read_manifest('(use-modules (guix profiles) (srfi srfi-1)) (specifications->manifest (list "a"))').packages
    assert usual == read_manifest('(specifications->manifest (list "a"))').packages


def test_reasons_are_for_names_as_guile_and_guix_write_them() -> None:
    assert "changes packages" in reason_of("modify-inputs")
    assert "what a package consists of" in reason_of("package-version")
    assert reason_of("inputs") == ""
    assert not [name for name in REASONS if name.endswith("-")]


def test_lists_doubled_again_and_again_end() -> None:
    text = '(define x0 (list "a" "b"))\n'
    text += "".join(f"(define x{n + 1} (append x{n} x{n}))\n" for n in range(40))
    with pytest.raises(ManifestUnreadable, match="too many steps"):
        read_manifest(text + "(specifications->manifest x40)")


_FORMS = st.recursive(
    st.sampled_from(['"a"', '"b:out"', "x", "list", "1", "'()", "specification->package"]),
    lambda inner: st.builds(
        lambda head, items: f"({head} {' '.join(items)})",
        st.sampled_from(
            [
                "list",
                "cons",
                "append",
                "map",
                "let",
                "define",
                "quote",
                "quasiquote",
                "unquote",
                "compose",
                "specifications->manifest",
                "packages->manifest",
                "concatenate-manifests",
                "begin",
            ]
        ),
        st.lists(inner, max_size=4),
    ),
    max_leaves=20,
)


@settings(max_examples=400, deadline=None)
@given(st.lists(_FORMS, max_size=4))
def test_any_program_is_read_or_refused(forms: list[str]) -> None:
    try:
        packages = read_manifest("\n".join(forms)).packages
    except ManifestUnreadable:
        return
    assert read_manifest(packages.manifest()).packages == packages


_NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,10}(@[0-9]\.[0-9])?(:[a-z]{1,5})?", fullmatch=True)


@given(st.lists(_NAMES, max_size=20, unique=True))
def test_the_canonical_manifest_says_the_same(names: list[str]) -> None:
    packages = PackageList(tuple(Entry(name) for name in names))
    assert read_manifest(packages.manifest()).packages == packages


@pytest.mark.parametrize(
    ("named", "added"),
    [
        ("python", "python-ipykernel"),
        ("python-pandas@2 sed", "python python-ipykernel"),
        ("python python-ipykernel", ""),
        ("r-zoo", "r-minimal r-irkernel"),
        ("r", "r-irkernel"),
        ("r-minimal r-irkernel python-numpy", "python python-ipykernel"),
        ("octave sed", ""),
    ],
)
def test_kernels_are_added_where_they_are_missing(named: str, added: str) -> None:
    packages = with_kernels(PackageList(tuple(Entry(name) for name in named.split())))
    assert " ".join(packages.added) == added
    assert " ".join(packages.specifications()) == f"{named} {added}".strip()
    assert " ".join(packages.named().specifications()) == named


def test_keys_differ_exactly_where_results_may() -> None:
    packages = PackageList((Entry("a"), Entry("b")))
    key = environment_key(packages, "guix-1", "x86_64-linux", 1)
    assert key == environment_key(PackageList(packages.entries, added=("b",)), "guix-1", "x86_64-linux", 1)
    others = {
        environment_key(PackageList((Entry("b"), Entry("a"))), "guix-1", "x86_64-linux", 1),
        environment_key(packages, "guix-2", "x86_64-linux", 1),
        environment_key(packages, "guix-1", "aarch64-linux", 1),
        environment_key(packages, "guix-1", "x86_64-linux", 2),
    }
    assert len(others | {key}) == 5
    assert request_key("r", "c", "", 1) != request_key("r", "c", "x", 1)
