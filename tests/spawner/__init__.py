"""Tests of the spawner: its parts alone, its scripts in a real shell, and all of it in a real hub."""
