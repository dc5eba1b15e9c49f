"""The program that writes the lock files, as a module."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[2] / "tools/update_server_layer.py"


@pytest.fixture(scope="session")
def tool() -> ModuleType:
    """Return ``tools/update_server_layer.py``, which is a program and in no package."""
    specification = importlib.util.spec_from_file_location("update_server_layer", TOOL)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module
