"""The environment record comes back as it was written, and a damaged one is named as such."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from guix_environment.errors import InvalidInput, NotFound, RecordInvalid
from guix_environment.identifiers import Commit, EnvironmentId, KernelName, StorePath, VariableName, VersionId
from guix_environment.records import EnvironmentRecord, Kernel, Records, ServerRecord, VersionRecord, Visibility
from guix_environment.repository_access import RepositoryAccess

PROFILE = StorePath("/gnu/store/0123456789abcdfghijklmnpqrsvwxyz-profile")
VERSION = VersionRecord(
    id=VersionId("vabcdefghijk"),
    commit=Commit("a" * 40),
    ref="main",
    subdirectory="",
    profile=PROFILE,
    closure=(PROFILE,),
    variables={VariableName("PATH"): f"{PROFILE}/bin"},
    kernels=(Kernel(KernelName("python3"), "Python 3", "python"),),
    size=12,
    notebook="index.ipynb",
)
ENVIRONMENT = EnvironmentRecord(
    id=EnvironmentId("eabcdefghijk"),
    name="Plöt <one>",
    description="",
    repository="https://git.example/a/plot",
    owner="ada",
    visibility=Visibility.GROUPS,
    groups=("lab",),
    current=VERSION.id,
    memory=1 << 30,
    cpu=0.5,
)


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    records = Records(tmp_path)
    server = ServerRecord("key", PROFILE, (PROFILE,), {VariableName("PATH"): "/x"}, {"jupyterlab": "4.6.6"})
    records.write_version(ENVIRONMENT.id, VERSION)
    shared = replace(ENVIRONMENT, users=("bob",), member_groups=("course", "lab"))
    records.write_environment(shared)
    records.write_server(server)
    assert records.read_environment(ENVIRONMENT.id) == shared
    assert records.read_version(ENVIRONMENT.id, VERSION.id) == VERSION
    assert records.read_server() == server
    assert records.environments() == [shared]


def test_the_right_to_read_comes_back_as_it_was_written(tmp_path: Path) -> None:
    records = Records(tmp_path)
    assert records.read_access(ENVIRONMENT.id) is None
    for access in (RepositoryAccess(), RepositoryAccess(datetime(2026, 2, 3, 4, 5, 6, 7, UTC), refused=True)):
        records.write_access(ENVIRONMENT.id, access)
        assert records.read_access(ENVIRONMENT.id) == access
    records.write_access(ENVIRONMENT.id, None)
    assert records.read_access(ENVIRONMENT.id) is None


def test_what_was_never_written_is_not_found(tmp_path: Path) -> None:
    records = Records(tmp_path)
    with pytest.raises(NotFound):
        records.read_environment(ENVIRONMENT.id)
    with pytest.raises(NotFound):
        records.read_server()
    assert records.environments() == []


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"schema": 99}', '{"schema": 1, "id": "../../etc"}', '{"schema": 1, "id": 3}']
)
def test_a_damaged_record_is_named_as_such_and_hides_no_other(tmp_path: Path, content: str) -> None:
    records = Records(tmp_path)
    records.write_environment(ENVIRONMENT)
    damaged = EnvironmentId("ezzzzzzzzzzz")
    records.environment_folder(damaged).mkdir(parents=True)
    (records.environment_folder(damaged) / "environment.json").write_text(content)
    with pytest.raises(RecordInvalid):
        records.read_environment(damaged)
    assert records.environments() == [ENVIRONMENT]


def test_a_version_with_anything_but_store_items_is_damaged(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.write_version(ENVIRONMENT.id, VERSION)
    file = records.version_folder(ENVIRONMENT.id, VERSION.id) / "version.json"
    file.write_text(file.read_text().replace(f'  "{PROFILE}"', '  "/etc"'))
    with pytest.raises(RecordInvalid, match="closure"):
        records.read_version(ENVIRONMENT.id, VERSION.id)


def test_who_may_start_an_environment() -> None:
    nobody: frozenset[str] = frozenset()
    assert ENVIRONMENT.may_be_started_by("ada", nobody)
    assert ENVIRONMENT.may_be_started_by("bob", frozenset({"lab"}))
    assert ENVIRONMENT.may_be_started_by("root", nobody, admin=True)
    assert not ENVIRONMENT.may_be_started_by("bob", frozenset({"other"}))
    private = replace(ENVIRONMENT, visibility=Visibility.PRIVATE)
    assert not private.may_be_started_by("bob", frozenset({"lab"}))
    assert replace(ENVIRONMENT, visibility=Visibility.EVERYONE).may_be_started_by("bob", nobody)
    by_name = replace(private, users=("carol",), member_groups=("course",))
    assert by_name.may_be_started_by("carol", nobody)
    assert by_name.may_be_started_by("bob", frozenset({"course"}))
    assert not by_name.may_be_started_by("course", frozenset({"carol", "lab"}))


def test_a_record_of_a_release_that_shared_nothing_by_name_is_read_and_one_that_is_damaged_there_is_not(
    tmp_path: Path,
) -> None:
    records = Records(tmp_path)
    records.write_environment(replace(ENVIRONMENT, users=("carol",)))
    file = records.environment_folder(ENVIRONMENT.id) / "environment.json"
    value = json.loads(file.read_text())
    assert value.pop("users") == ["carol"]
    del value["member_groups"]
    file.write_text(json.dumps(value))
    assert records.read_environment(ENVIRONMENT.id) == ENVIRONMENT
    file.write_text(json.dumps(value | {"users": "everybody"}))
    with pytest.raises(RecordInvalid, match="users"):
        records.read_environment(ENVIRONMENT.id)


@pytest.mark.parametrize("path", ["", "/gnu/store", "/gnu/store/short-x", "/etc/passwd", f"{PROFILE}/bin", f"{PROFILE}\n"])
def test_a_store_path_is_an_item_of_the_store(path: str) -> None:
    with pytest.raises(InvalidInput):
        StorePath(path)


def test_identifiers_are_new_each_time() -> None:
    assert EnvironmentId.new() != EnvironmentId.new()
    with pytest.raises(InvalidInput):
        EnvironmentId("../../../etc")
