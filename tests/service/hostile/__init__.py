"""Repositories that would do something, or that are made to break who reads them, each with what must become of it."""

from tests.service.hostile import bombs, contents, damaged
from tests.service.hostile.corpus import CASES, READ, Hostile, Traps

__all__ = ["CASES", "READ", "Hostile", "Traps", "bombs", "contents", "damaged"]
