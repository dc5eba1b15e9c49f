"""Whom a person's sessions run as, and the home that they share."""

from guix_environment.session_names import UNNAMED, slug
from guixspawner.accounts.homes import Homes
from guixspawner.accounts.person import Person
from guixspawner.accounts.settings import SessionAccounts

__all__ = ["UNNAMED", "Homes", "Person", "SessionAccounts", "slug"]
