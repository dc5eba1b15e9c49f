"""Running manifests that are no data, as the administrator configures it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traitlets import Float, Integer, List, Unicode, validate
from traitlets.config import Configurable

from guix_build_service.jail.evaluation import Evaluation
from guix_build_service.jail.plan import Bounds
from guix_build_service.settings.patterns import checked_patterns
from guix_environment.guix_command import GuixCommand


class ManifestEvaluation(Configurable):
    """Which manifests are run, and within which bounds."""

    repositories = List(
        Unicode(),
        help="""Repositories whose manifests are run where they are more than a list of packages.

        Each is a name of a host, such as "git.example.edu", or an address with * for anything, such as
        "https://codeberg.org/our-group/*". None is run unless set here: manifests are programs.
        """,
    ).tag(config=True)

    groups = List(
        Unicode(),
        help="""Groups of the hub whose members may have the manifests of any repository run, as those of repositories are.

        Only for the builds that they ask for themselves, while they are members. None unless set here.
        """,
    ).tag(config=True)

    building_repositories = List(
        Unicode(),
        help="""Repositories of which also the packages are built that their manifests make, in the same words.

        Their manifests are run where needed. What the packages are built of is read before, and nothing is downloaded for
        them but what Guix's own need too, and what is at download_hosts. Builds run in Guix's daemon, without network.
        None unless set here.
        """,
    ).tag(config=True)

    building_groups = List(
        Unicode(),
        help="""Groups of the hub for whose members also packages are built that manifests of any repository make.

        As for groups, only in the builds that they ask for themselves. None unless set here.
        """,
    ).tag(config=True)

    download_hosts = List(
        Unicode(),
        help="""Hosts, with * for anything, from which such packages may have something downloaded by https.

        mirror://gnu is one too, for the servers that Guix lists by that name, which are not all reached by https. Guix's
        daemon does it, and follows redirects to anywhere: name hosts that lead to nothing of yours. None unless set here.
        """,
    ).tag(config=True)

    account = Unicode(
        help="""The account to run manifests as, where the service runs as root; the service's own otherwise.

        Best one that owns nothing.
        """
    ).tag(config=True)

    guix_root = Unicode(
        "/", help="The top folder of the system that Guix is a program of, where it comes from a distribution."
    ).tag(config=True)

    seconds = Float(120.0, min=1.0, help="How long one manifest may run, and how much of a processor's time it gets.").tag(
        config=True
    )

    memory = Integer(
        2 * 1024**3,
        min=256 * 1024**2,
        help="Bytes of addresses that running a manifest may take; Guix itself takes some 400 MiB.",
    ).tag(config=True)

    @validate("repositories", "building_repositories")
    def _check_patterns(self, proposal: Mapping[str, Any]) -> list[str]:
        return checked_patterns(proposal["value"])

    def evaluation(self, guix: GuixCommand) -> Evaluation | None:
        """Return how manifests are run by GUIX, or None where none is."""
        if not (self.repositories or self.groups or self.building_repositories or self.building_groups):
            return None
        return Evaluation(
            guix,
            tuple(self.repositories),
            self.account,
            Path(self.guix_root),
            Bounds(seconds=self.seconds, memory=self.memory),
            frozenset(self.groups),
            tuple(self.building_repositories),
            frozenset(self.building_groups),
            tuple(self.download_hosts),
        )
