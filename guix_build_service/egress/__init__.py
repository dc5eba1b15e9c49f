"""The one way by which the service's Git commands reach other machines."""

from guix_build_service.egress.passage import Passage, opened

__all__ = ["Passage", "opened"]
