"""How well people must be kept apart, as the administrator configures it."""

from pathlib import Path

from traitlets import Bool, CaselessStrEnum
from traitlets.config import Configurable

from guix_build_service.isolation.levels import Level, Report, check, findings
from guix_build_service.isolation.machine import facts
from guix_build_service.jail.evaluation import Evaluation
from guix_environment.guix_command import GuixCommand


class Isolation(Configurable):
    """For whom the installation must be good enough."""

    level = CaselessStrEnum(
        [level.word for level in Level],
        default_value=Level.ALONE.word,
        help="""Whom the service keeps apart: alone, team, people or strangers.

        It does not start where this machine cannot: `guix-build-service doctor` says what is lacking, and what to do.
        """,
    ).tag(config=True)

    guix_is_mended = Bool(
        False,
        help="""Whether Guix has the commits that close its published holes, where its version does not tell.

        See so first: `guix-build-service doctor` names the commit.
        """,
    ).tag(config=True)

    @property
    def wanted(self) -> Level:
        """The configured level."""
        return Level[self.level.upper()]

    async def report(self, guix: GuixCommand, folder: Path, evaluation: Evaluation | None) -> Report:
        """Return all that levels need and whether it is so; the arguments are as in `facts`."""
        found = await facts(guix, folder, evaluation, guix_is_mended=self.guix_is_mended)
        return Report(findings(found), self.wanted)

    async def check(self, guix: GuixCommand, folder: Path, evaluation: Evaluation | None) -> None:
        """Return where the configured level is reached.  Raises `Refused` with all that is lacking."""
        if self.wanted is not Level.ALONE:
            check(self.wanted, (await self.report(guix, folder, evaluation)).findings)
