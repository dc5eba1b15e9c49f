"""The programs of the server layer that are in no package, as modules."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from guix_build_service.server_layer.definitions import definitions_folder


def load(path: Path, name: str) -> ModuleType:
    """Return the program at PATH as a module."""
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tool() -> ModuleType:
    """Return ``tools/update_server_layer.py``."""
    return load(Path(__file__).parents[2] / "tools/update_server_layer.py", "update_server_layer")


@pytest.fixture(scope="session")
def installer() -> ModuleType:
    """Return ``install.py``, which runs while Guix builds the layer."""
    return load(definitions_folder() / "server-layer/install.py", "install_server_layer")
