"""The reader takes Scheme apart without running it, and says where it stops understanding."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guix_build_service.manifest.reader import DEEPEST, LARGEST_TEXT, read_all
from guix_build_service.manifest.syntax import Atom, Datum, Form, Symbol, Text
from guix_environment.errors import ManifestUnreadable


def plain(datum: Datum) -> object:
    """Return DATUM without its places: symbols as ``:name``, atoms as ``#text``."""
    match datum:
        case Text(value=value):
            return value
        case Symbol(name=name):
            return f":{name}"
        case Atom(text=text):
            return f"#{text}"
        case Form(items=items, tail=None):
            return [plain(item) for item in items]
        case Form(items=items, tail=Text() | Symbol() | Atom() as tail):
            return [*(plain(item) for item in items), ".", plain(tail)]
    raise AssertionError


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", []),
        ("  \n; a comment\n", []),
        ("; a comment without an end", []),
        ('"a" b 12 #t #:key', ["a", ":b", "#12", "##t", "##:key"]),
        ("(a [b c] ())", [[":a", [":b", ":c"], []]]),
        ("'a `b ,c ,@d", [[":quote", ":a"], [":quasiquote", ":b"], [":unquote", ":c"], [":unquote-splicing", ":d"]]),
        ("(a #;(b c) d)", [[":a", ":d"]]),
        ("(a #; #;b c d)", [[":a", ":d"]]),
        ("#| one #| two |# still |# a", [":a"]),
        ("#!/usr/bin/guile\n!# a", [":a"]),
        (r'"tab\t quote\" backslash\\ A\x41 \u00e9"', ['tab\t quote" backslash\\ AA é']),
        ('"one \\\n   line"', ["one    line"]),
        (r"#\( a", ["##\\(", ":a"]),
        ("(a . b) (a b . (c . d)) (a . (b))", [[":a", ".", ":b"], [":a", ":b", ":c", ".", ":d"], [":a", ":b"]]),
        ("(a . 'b)", [[":a", ":quote", ":b"]]),
        ("#~(a #$b #$@c) #xff", [[":gexp", [":a", [":ungexp", ":b"], [":ungexp-splicing", ":c"]]], "##xff"]),
        ("specification->package+output", [":specification->package+output"]),
        ("(@ (gnu packages base) sed)", [[":@", [":gnu", ":packages", ":base"], ":sed"]]),
    ],
)
def test_text_becomes_data(text: str, data: list[object]) -> None:
    assert [plain(datum) for datum in read_all(text)] == data


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ('(list\n  "a"', 1, 1, "never closed"),
        ('(list\n  "a', 2, 3, "quotation mark is missing"),
        ("(a))", 1, 4, "too many"),
        ("(a\n ]", 2, 2, "ends with ], not )"),
        (r'"\q"', 1, 2, "escape"),
        (r'"\ud800"', 1, 2, "stands for no character"),
        ("(a . b c)", 1, 8, "only one more part"),
        ("(a . )", 1, 4, "a dot stands between"),
        ("( . a)", 1, 3, "a dot stands between"),
        ("(a . . b)", 1, 4, "a dot stands between"),
        ("a . b", 1, 3, "outside of a list"),
        ("(a '.)", 1, 4, "nothing after"),
        ('#.(system* "id")', 1, 1, "not read"),
        ("#u8(1 2)", 1, 1, "not read"),
        ("\n\n  '", 3, 3, "nothing after"),
        ("#| x", 1, 1, "no end"),
        ("(a #;)", 1, 4, "nothing after it"),
        ("(" * (DEEPEST + 2), 1, DEEPEST + 2, "deep"),
        ("a" * (LARGEST_TEXT + 1), 1, 1, "larger than"),
        ("a " * 60_000, 1, 100_001, "parts"),
    ],
)
def test_what_is_not_scheme_is_refused_with_its_place(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(ManifestUnreadable) as raised:
        read_all(text)
    assert raised.value.details == {"line": line, "column": column}
    assert f"line {line}, column {column}" in raised.value.message
    assert words in raised.value.message
    assert raised.value.hint


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet="()[]\"\\;#|'`,@ \n\tab1.:!", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_all(text)
    except ManifestUnreadable as error:
        assert error.details["line"]  # noqa: PT017 - either outcome is right


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_a_string_comes_back_as_it_was_written(text: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in text):
        return
    written = text.replace("\\", "\\\\").replace('"', '\\"')
    assert [plain(datum) for datum in read_all(f'"{written}"')] == [text]
