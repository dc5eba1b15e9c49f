"""What is asked of a session, by people and by programs that mean no good."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guix_environment.errors import InvalidOptions
from guixspawner.options import Preselection, options_from_fields, parse_options, preselection
from tests.spawner.conftest import ENVIRONMENT, VERSION

GIVEN = {"environment": ENVIRONMENT}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_what_can_be_asked_for() -> None:
    options = parse_options({**GIVEN, "version": VERSION, "memory": "2G", "cpu": 1.5, "path": "notes/a b.ipynb"})
    assert (options.environment, options.version) == (ENVIRONMENT, VERSION)
    assert (options.memory, options.cpu, options.path) == (2 * 2**30, 1.5, "notes/a b.ipynb")
    assert parse_options({**GIVEN, "memory": 2**30}).memory == 2**30
    assert parse_options({**GIVEN, "version": None, "memory": None, "cpu": None}) == parse_options(GIVEN)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("134217728", 2**27), ("131072K", 2**27), ("128M", 2**27), ("1G", 2**30), ("2T", 2**41)],
)
def test_memory_is_written_in_units_of_1024_and_what_jupyterlab_needs_is_the_least(written: str, meant: int) -> None:
    assert parse_options({**GIVEN, "memory": written}).memory == meant


def test_the_limits_themselves_can_be_asked_for_and_slashes_around_a_path_mean_nothing() -> None:
    options = parse_options({**GIVEN, "cpu": 4096, "path": "/notes/a.ipynb/"})
    assert (options.cpu, options.path) == (4096, "notes/a.ipynb")


def test_nothing_asked_for_says_what_to_do() -> None:
    with pytest.raises(InvalidOptions, match="Choose an environment"):
        parse_options({})


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        "environment",
        5,
        ["environment", ENVIRONMENT],
        {"repo": ["evil"], "anything": {"deep": 1}},
        {"version": VERSION},
        {**GIVEN, "cmd": ["/bin/sh"]},
        {**GIVEN, "environment ": ENVIRONMENT},
        {**GIVEN, "x" * 1000: 1},
        {**GIVEN, **{f"{number:040}": 1 for number in range(20)}},
        {"environment": "e" * 1000},
        {"environment": [ENVIRONMENT]},
        {"environment": {"$ne": ""}},
        {"environment": ENVIRONMENT + "\n"},
        {"environment": "../../../etc"},
        {"environment": ENVIRONMENT.upper()},
        {"environment": b"eaaaaaaaaaaa"},
        {**GIVEN, "version": ""},
        {**GIVEN, "version": "../" + VERSION},
        {**GIVEN, "memory": True},
        {**GIVEN, "memory": -1},
        {**GIVEN, "memory": 0},
        {**GIVEN, "memory": 128 * 2**20 - 1},
        {**GIVEN, "memory": 2**70},
        {**GIVEN, "memory": 1e9},
        {**GIVEN, "memory": "1e9"},
        {**GIVEN, "memory": "2G\n"},
        {**GIVEN, "memory": "٣G"},
        {**GIVEN, "memory": "9" * 5000},
        {**GIVEN, "cpu": True},
        {**GIVEN, "cpu": 0},
        {**GIVEN, "cpu": -0.5},
        {**GIVEN, "cpu": float("nan")},
        {**GIVEN, "cpu": float("inf")},
        {**GIVEN, "cpu": 10**400},
        {**GIVEN, "cpu": "1"},
        {**GIVEN, "cpu": 4096.5},
        {**GIVEN, "path": None},
        {**GIVEN, "path": ["index.ipynb"]},
        {**GIVEN, "path": "../secrets"},
        {**GIVEN, "path": "a/../../b"},
        {**GIVEN, "path": "a//b"},
        {**GIVEN, "path": "a/./b"},
        {**GIVEN, "path": "a\0b"},
        {**GIVEN, "path": "a\nb"},
        {**GIVEN, "path": "\u202eb"},
        {**GIVEN, "path": "a" * 2000},
        {**GIVEN, "urlpath": None},
        {**GIVEN, "urlpath": "https://elsewhere.example/"},
        {**GIVEN, "urlpath": "javascript:alert(1)"},
        {**GIVEN, "urlpath": "//elsewhere.example/"},
        {**GIVEN, "urlpath": "/\\elsewhere.example/"},
        {**GIVEN, "urlpath": "../../hub/home"},
        {**GIVEN, "urlpath": "lab/%2e%2e/%2E%2e/hub"},
        {**GIVEN, "urlpath": "a//b"},
        {**GIVEN, "urlpath": "a\nb"},
        {**GIVEN, "urlpath": "é"},
        {**GIVEN, "urlpath": 'a"b'},
        {**GIVEN, "urlpath": "a<b"},
        {**GIVEN, "urlpath": "a>b"},
        {**GIVEN, "urlpath": "a/./b"},
        {**GIVEN, "urlpath": "a" * 2000},
    ],
)
def test_what_is_of_no_known_shape_is_refused(given: object) -> None:
    with pytest.raises(InvalidOptions) as refusal:
        parse_options(given)
    assert refusal.value.status == 400
    assert len(refusal.value.message) < 300


@given(
    JSON
    | st.fixed_dictionaries(
        {"environment": JSON}, optional={"memory": JSON, "cpu": JSON, "path": JSON, "urlpath": JSON, "x": JSON}
    )
)
def test_no_json_does_anything_but_be_read_or_refused(given: object) -> None:
    with contextlib.suppress(InvalidOptions):
        parse_options(given)


def test_fields_of_the_form_become_options() -> None:
    fields: dict[str, list[object]] = {
        "_xsrf": ["x"],
        "environment": [ENVIRONMENT],
        "version": [""],
        "path": [],
        "cpu": ["0.5"],
        "memory": ["1G"],
    }
    assert options_from_fields(fields) == {"environment": ENVIRONMENT, "cpu": 0.5, "memory": "1G"}
    assert options_from_fields({}) == {}
    with pytest.raises(InvalidOptions, match="given twice"):
        options_from_fields({"environment": [ENVIRONMENT, ENVIRONMENT]})
    with pytest.raises(InvalidOptions) as refusal:
        options_from_fields({"x" * 1000: ["", ""]})
    assert len(refusal.value.message) < 100
    with pytest.raises(InvalidOptions, match="no number"):
        options_from_fields({"cpu": ["many"]})
    # A file, as the hub hands it over, is judged with everything else.
    assert options_from_fields({"environment_file": [{"body": b""}]}) == {"environment_file": {"body": b""}}


def test_what_a_link_named_for_one_environment_is_left_out_for_another() -> None:
    named: dict[str, list[object]] = {"version": [VERSION], "path": ["a"], "urlpath": ["app"], "memory": ["1G"]}
    rest = {"version": VERSION, "path": "a", "urlpath": "app", "memory": "1G"}
    chosen: dict[str, list[object]] = {"environment": [ENVIRONMENT], **named}
    assert options_from_fields({**chosen, "preselected": [ENVIRONMENT]}) == {"environment": ENVIRONMENT, **rest}
    assert options_from_fields({**chosen, "preselected": ["ebbbbbbbbbbb"]}) == {"environment": ENVIRONMENT, "memory": "1G"}
    assert options_from_fields(chosen) == {"environment": ENVIRONMENT, **rest}
    assert options_from_fields(named) == rest


def test_a_link_suggests_and_never_fails() -> None:
    def suggested(**arguments: str) -> Preselection:
        return preselection({name.replace("_", "-"): [value.encode()] for name, value in arguments.items()})

    assert suggested(environment=ENVIRONMENT) == Preselection(ENVIRONMENT)
    assert suggested(opt_environment=ENVIRONMENT, opt_path="a/b") == Preselection(ENVIRONMENT, None, "a/b")
    assert suggested(environment=ENVIRONMENT, version=VERSION).version == VERSION
    # JupyterHub 6 tells its own words from ours by the prefix, and of several the last one counts.
    assert suggested(environment="ebbbbbbbbbbb", opt_environment=ENVIRONMENT) == Preselection(ENVIRONMENT)
    assert preselection({"environment": [b"ebbbbbbbbbbb", ENVIRONMENT.encode()]}) == Preselection(ENVIRONMENT)
    assert suggested(environment="<script>") == Preselection()
    assert suggested(environment=ENVIRONMENT, path="../..") == Preselection()
    assert preselection({"environment": [b"\xff"]}) == preselection({"environment": []}) == Preselection()


@pytest.mark.parametrize(
    ("urlpath", "meant"),
    [
        ("/lab", "lab"),
        ("shiny/", "shiny/"),
        ("app", "app"),
        ("voila/a.ipynb?x=1&y=//z", "voila/a.ipynb?x=1&y=//z"),
        ("a#b/../c", "a#b/../c"),
    ],
)
def test_an_address_below_the_servers_own_can_be_shown_first(urlpath: str, meant: str) -> None:
    assert parse_options({**GIVEN, "urlpath": urlpath}).urlpath == meant
    assert preselection({"opt-environment": [ENVIRONMENT.encode()], "urlpath": [urlpath.encode()]}).urlpath == meant
