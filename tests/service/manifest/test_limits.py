"""Manifests as large, as deep and as repetitive as they may be: each is read or refused, and none takes for ever."""

import pytest

from guix_build_service.manifest.channels import read_channels
from guix_build_service.manifest.grammar import read_manifest
from guix_build_service.manifest.reader import DEEPEST, LARGEST_TEXT, MOST_DATA
from guix_build_service.manifest.specifications import MOST_PACKAGES
from guix_environment.errors import ManifestUnreadable

USED = "(use-modules (srfi srfi-1) (guix transformations))\n"


def strings(count: int) -> str:
    return " ".join(f'"p{number}"' for number in range(count))


REFUSED = {
    "parentheses": ("(" * LARGEST_TEXT, "deep"),
    "quotation marks": ("'" * LARGEST_TEXT, "deep"),
    "comments of one thing": ("#;" * (LARGEST_TEXT // 2), "deep"),
    "comments within comments": ("#|" * (LARGEST_TEXT // 2), "has no end"),
    "a string": ('"' + "a" * (LARGEST_TEXT - 2) + '"', "ends with a string"),
    "a byte too many": (" " * (LARGEST_TEXT + 1), "larger than"),
    "parts": ("a " * (MOST_DATA + 1), "parts"),
    "names": (f"(specifications->manifest '({strings(MOST_PACKAGES + 1)}))", "packages"),
    "lists that double": ('(define a \'("x"))' + "(define a (append a a))" * 60, "steps"),
    "strings that double": ('(define a "xxxxxxxx")' + "(define a (string-append a a))" * 60, "longer than"),
    "manifests that double": (
        f"(define m (specifications->manifest '({strings(20)})))" + "(define m (concatenate-manifests (list m m)))" * 40,
        "packages",
    ),
    "lists of the same list compared": ("(define a '())" + "(define a (list a a))" * 60 + "(equal? a a)", "steps"),
    "such lists looked for": (
        "(define a '())"
        + "(define a (list a a))" * 60
        + "(define b '())"
        + "(define b (list b b))" * 60
        + "(member a (list b))",
        "steps",
    ),
    "such lists made unique": (
        USED + "(define a '())" + "(define a (list a a))" * 60 + "(delete-duplicates (list a a))",
        "steps",
    ),
    "a list looked for among its like": (
        f"(define a '({strings(9000)}))(define b '({strings(8999)} \"z\"))(member a (list {'b ' * 9000}))",
        "steps",
    ),
    "unique names": (USED + f"(delete-duplicates '({strings(9000)}))", "steps"),
    "a list for each of a list": (USED + f"(define a '({strings(9000)}))(map (lambda (x) (reverse a)) a)", "steps"),
    "a list that grows": (USED + f"(fold (lambda (x r) (append r (list x))) '() '({strings(9000)}))", "steps"),
    "a loop": ("(let loop ((x 1)) (loop x))", "deep"),
    "a procedure of itself": ("(define (f x) (cons x (f x))) (f 1)", "deep"),
    "text put into text": (
        '(define s (format #f "~a~a" "aaaa" "aaaa"))' + '(define s (format #f "~a~a" s s))' * 40,
        "longer than",
    ),
    "changes of one package": (
        USED
        + '(define t (options->transformation \'((with-input . "a=b"))))(packages->manifest (map (lambda (n)'
        + f" (fold (lambda (x p) (t p)) (specification->package n) '({strings(40)}))) '({strings(1000)})))",
        "steps",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_goes_beyond_a_limit_is_refused(name: str) -> None:
    text, reason = REFUSED[name]
    with pytest.raises(ManifestUnreadable, match=reason):
        read_manifest(text)
    with pytest.raises(ManifestUnreadable):
        read_channels(text)


def test_what_is_just_within_the_limits_is_read() -> None:
    text = f"(specifications->manifest '({strings(MOST_PACKAGES)}))"
    assert len(read_manifest(text).packages.entries) == MOST_PACKAGES
    assert len(read_manifest(text + " " * (LARGEST_TEXT - len(text))).packages.entries) == MOST_PACKAGES
    nested = "(begin " * (DEEPEST - 5) + "(specifications->manifest '())" + ")" * (DEEPEST - 5)
    assert read_manifest(nested).packages.entries == ()
