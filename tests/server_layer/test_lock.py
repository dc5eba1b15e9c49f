"""The lock files are whole, and whatever is wrong with one is found without network."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SERIES = ("5", "6")


@pytest.mark.parametrize("series", SERIES)
def test_that_each_lock_is_as_the_program_writes_it(tool: ModuleType, series: str) -> None:
    assert tool.problems(series, tool.FOLDER / f"lock-{series}.json") == []


@pytest.mark.parametrize("series", SERIES)
def test_that_a_lock_names_no_host(tool: ModuleType, series: str) -> None:
    text = (tool.FOLDER / f"lock-{series}.json").read_text()
    assert "//" not in text
    assert not re.search(r"\b(?:[a-z0-9-]+\.)+(?:org|com|io|net)\b", text)


def test_that_all_series_have_the_same_jupyterlab(tool: ModuleType) -> None:
    versions = {
        wheel.version
        for series in SERIES
        for wheel in tool.read(tool.FOLDER / f"lock-{series}.json")
        if wheel.name == "jupyterlab"
    }
    assert len(versions) == 1


def _change(lock: dict[str, Any], name: str, **fields: object) -> None:
    next(wheel for wheel in lock["wheels"] if wheel["name"] == name).update(fields)


def _remove(lock: dict[str, Any], name: str) -> None:
    lock["wheels"] = [wheel for wheel in lock["wheels"] if wheel["name"] != name]


def _add_excluded(lock: dict[str, Any]) -> None:
    wheel = dict(lock["wheels"][0], name="pamela", version="1.2.0", file="pamela-1.2.0-py2.py3-none-any.whl")
    lock["wheels"] = sorted([*lock["wheels"], wheel], key=lambda wheel: str(wheel["name"]))


DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "wrong hash": (lambda lock: _change(lock, "tornado", sha256="0" * 63), "has no SHA-256"),
    "another version": (lambda lock: _change(lock, "tornado", version="6.0"), "not the version that its entry says"),
    "an address": (
        lambda lock: _change(lock, "idna", path="https://example.org/idna-3.20-py3-none-any.whl"),
        "not where the index puts its files",
    ),
    "another system": (
        lambda lock: _change(lock, "tornado", systems=["aarch64-linux", "x86_64-linux"]),
        "cannot be loaded on",
    ),
    "two of one": (lambda lock: lock["wheels"].append(lock["wheels"][0]), "not in its normal form"),
    "out of order": (lambda lock: lock["wheels"].reverse(), "not in its normal form"),
    "no server": (lambda lock: _remove(lock, "jupyterhub"), "lacks jupyterhub"),
    "no tool": (lambda lock: _remove(lock, "installer"), "lacks installer"),
    "left out, and there": (_add_excluded, "left out on purpose"),
    "no wheels": (lambda lock: lock.pop("wheels"), "cannot be read"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_that_damage_is_found(tool: ModuleType, tmp_path: Path, damage: str) -> None:
    change, expected = DAMAGES[damage]
    lock = json.loads((tool.FOLDER / "lock-6.json").read_text())
    change(lock)
    damaged = tmp_path / "lock-6.json"
    damaged.write_text(json.dumps(lock, indent=1) + "\n")
    assert any(expected in problem for problem in tool.problems("6", damaged))


def test_that_the_most_specific_wheel_is_chosen(tool: ModuleType) -> None:
    names = [
        "thing-1.0-py3-none-any.whl",
        "thing-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "thing-1.0-cp39-abi3-manylinux_2_28_x86_64.whl",
        "thing-1.0-cp311-cp311-musllinux_1_2_x86_64.whl",
        "thing-1.0-cp312-cp312-manylinux_2_28_x86_64.whl",
        "thing-1.0-cp311-cp311-manylinux_2_38_x86_64.whl",
    ]
    files = [{"url": f"https://example.org/{name}"} for name in names]
    assert tool.file_name(tool.choose(files, "x86_64-linux")) == names[1]
    assert tool.file_name(tool.choose(files, "aarch64-linux")) == names[0]
    with pytest.raises(LookupError):
        tool.choose(files[3:], "x86_64-linux")
