"""What the service measures of itself, as Prometheus reads it: sums over everybody, and nothing of any one person.

What happens is counted when it happens, from the start of the process on; how much there is comes from the database when it
is asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from guix_build_service.model.environments import BuildState

METRICS_TYPE = CONTENT_TYPE_LATEST
"""The media type of the figures."""

_NAMES = "guix_build_service"
_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)


class Needed(StrEnum):
    """What a request for an environment needed."""

    NOTHING = "nothing"
    """The version is there."""
    NOTHING_MORE = "running-build"
    """Somebody had asked for the same already."""
    BUILD = "build"


@dataclass(frozen=True, slots=True)
class Figures:
    """How much of everything there is."""

    builds: Mapping[BuildState, int]
    environments: int
    versions: int
    profiles: int
    size: int
    """Bytes of the profiles' closures; what two of them share is in both."""


class Measures:
    """The figures of one process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._phases = Histogram(
            f"{_NAMES}_phase_seconds",
            "How long builds were in each state, those that failed there included.",
            ["state"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._requests = Counter(
            f"{_NAMES}_requests", "Requests for environments, by what they needed.", ["needed"], registry=registry
        )
        self._profiles = Counter(
            f"{_NAMES}_build_profiles",
            "Profiles that builds needed, by origin.",
            ["source"],
            registry=registry,
        )
        self._sessions = Counter(f"{_NAMES}_sessions", "Sessions that were asked of the hub.", registry=registry)
        self._builds = Gauge(f"{_NAMES}_builds", "Builds in the database, by state.", ["state"], registry=registry)
        self._environments = Gauge(f"{_NAMES}_environments", "Environments.", registry=registry)
        self._versions = Gauge(f"{_NAMES}_versions", "Versions of environments.", registry=registry)
        self._kept = Gauge(f"{_NAMES}_profiles_kept", "Profiles that are kept for some version.", registry=registry)
        self._size = Gauge(f"{_NAMES}_profiles_bytes", "Sizes of those profiles with all they need.", registry=registry)
        for needed in Needed:
            self._requests.labels(needed.value)
        for source in ("known", "made"):
            self._profiles.labels(source)

    def spent(self, state: BuildState, seconds: float) -> None:
        """Count that a build was in STATE for SECONDS."""
        self._phases.labels(state.value).observe(max(0.0, seconds))

    def request(self, needed: Needed) -> None:
        """Count a request that NEEDED so much."""
        self._requests.labels(needed.value).inc()

    def profile(self, *, known: bool) -> None:
        """Count a build's profile that was KNOWN, or else had to be made."""
        self._profiles.labels("known" if known else "made").inc()

    def session(self) -> None:
        """Count a session that the hub was asked to start."""
        self._sessions.inc()

    def exposition(self, figures: Figures) -> bytes:
        """Return everything in Prometheus's text form, with FIGURES for how much there is."""
        for state in BuildState:
            self._builds.labels(state.value).set(figures.builds.get(state, 0))
        self._environments.set(figures.environments)
        self._versions.set(figures.versions)
        self._kept.set(figures.profiles)
        self._size.set(figures.size)
        return generate_latest(self._registry)
