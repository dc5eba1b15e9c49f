"""What the API says about itself: whether it answers, what is installed, and its description in OpenAPI."""

import json
from http import HTTPStatus
from importlib.metadata import version

from guix_build_service.model.measures import METRICS_TYPE
from guix_build_service.web.answers import AnsweringHandler
from guix_build_service.web.api import ApiHandler, operation
from guix_build_service.web.auth import Shared
from guix_build_service.web.openapi import API_VERSION
from guix_build_service.web.schemas.service import HealthAnswer, VersionsOfSoftware

HEALTHY_OR_NOT = (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE)


class Health(AnsweringHandler):
    """Whether the service can do its work; for whoever watches over it, without a login."""

    route = "health"

    def initialize(self, shared: Shared) -> None:
        """Take what every handler shares."""
        self._manager = shared.manager

    @operation("See whether the service can do its work", gives=HealthAnswer, statuses=HEALTHY_OR_NOT)
    async def get(self) -> None:
        """Answer."""
        health = await self._manager.health()
        self.set_status(HTTPStatus.OK if health.status == "ok" else HTTPStatus.SERVICE_UNAVAILABLE)
        self.write(HealthAnswer.of(health).model_dump())

    async def head(self) -> None:
        """Answer by the status alone."""
        await self.get()


class SoftwareVersions(ApiHandler):
    """What is installed."""

    route = "versions"

    @operation("See what is installed", gives=VersionsOfSoftware)
    async def get(self) -> None:
        """Answer."""
        self.give(VersionsOfSoftware(guixspawner=version("guixspawner"), jupyterhub=version("jupyterhub"), api=API_VERSION))


class Metrics(ApiHandler):
    """How much of everything there is and how long it took, for Prometheus; of no person in particular."""

    route = "metrics"

    @operation("See how much there is and how long it took", media_type="text/plain")
    async def get(self) -> None:
        """Answer."""
        self.set_header("Content-Type", METRICS_TYPE)
        self.write(await self.manager.metrics())


class Description(ApiHandler):
    """The description of the API for programs."""

    route = "openapi.json"

    @operation("Read this description")
    async def get(self) -> None:
        """Answer."""
        self.give_json(json.dumps(self.settings["openapi"]))
