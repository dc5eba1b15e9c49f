"""The threat model: each boundary names tests that hold it, and each of these tests is there."""

import ast
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PAGE = (CHECKOUT / "docs/explanation/threats.md").read_text()
BOUNDARIES = PAGE.partition("## Boundaries\n")[2].partition("\n## ")[0].split("\n### ")[1:]

_NAMED = re.compile(r"^- `([^`:]+\.py)::([^`]+)`$", re.MULTILINE)


def test_no_line_of_the_boundaries_is_overlooked() -> None:
    listed = re.findall(r"^- .*$", "\n".join(BOUNDARIES), re.MULTILINE)
    assert len(listed) == len(_NAMED.findall(PAGE)) >= 30


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=lambda text: text.partition("\n")[0])
def test_each_boundary_is_held_by_tests_that_are_there(boundary: str) -> None:
    named = _NAMED.findall(boundary)
    assert named
    for file, name in named:
        tree = ast.parse((CHECKOUT / file).read_text())
        tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in tests, f"{file}::{name}"


def test_what_is_promised_leads_to_the_threat_model() -> None:
    promised = (CHECKOUT / "SECURITY.md").read_text()
    assert "docs/explanation/threats.md" in promised
    for heading in ("## Report a vulnerability", "## What is promised", "## What is not promised"):
        assert heading in promised
