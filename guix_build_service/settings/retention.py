"""For how long profiles are kept, as the administrator configures it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from traitlets import Bool, Float, Integer, TraitError, validate
from traitlets.config import Configurable

from guix_build_service.model.retention import Rules
from guix_build_service.queue.retaining import Schedule


class Retention(Configurable):
    """Which profiles stay on the disk although nobody uses them.

    What is pinned, or held by a running session, always stays. Of what goes, record, manifest and log stay, from which it
    can be built again. Unless something here is set, everything stays.
    """

    unused_days = Float(
        0.0,
        min=0.0,
        help="""Days after which a profile that nobody used and no environment starts from is let go; 0 for never.

        Those are profiles of earlier versions. They are let go once a session was not seen in them, and none of their
        versions was built, for so long.
        """,
    ).tag(config=True)

    unused_current_days = Float(
        0.0,
        min=0.0,
        help="""Days after which also the profile that an environment starts from is let go, if nobody used it; 0 for never.

        Whoever starts that environment then is asked to have it built again first.
        """,
    ).tag(config=True)

    begin_below = Integer(
        0,
        min=0,
        help="""Free bytes of the disk of /gnu/store below which profiles are let go; 0 for never.

        Those used longest ago go first; those that environments start from stay. Choose more than
        BuildService.least_free_space, below which builds wait.
        """,
    ).tag(config=True)

    stop_at = Integer(
        0, min=0, help="Free bytes of that disk that are enough then; as much as begin_below unless set to more."
    ).tag(config=True)

    collect = Bool(
        True,
        help="""Whether Guix's collector is run when there is less room than begin_below, until stop_at is free.

        It removes whatever nothing on the machine holds, not only what the service let go. Without it, room is only made
        when the administrator has the collector run, such as by a timer.
        """,
    ).tag(config=True)

    look_minutes = Float(60.0, min=0.1, help="Minutes between two looks at what can be let go.").tag(config=True)

    @validate("stop_at")
    def _check_stop(self, proposal: Mapping[str, Any]) -> int:
        stop = int(proposal["value"])
        if 0 < stop < self.begin_below:
            raise TraitError("Retention.stop_at is less than begin_below: it would never be reached")
        return stop

    def schedule(self) -> Schedule:
        """Return when profiles are let go, and by which rules."""
        return Schedule(self.rules(), self.collect, self.look_minutes * 60)

    def rules(self) -> Rules:
        """Return what is configured."""
        return Rules(
            unused=days(self.unused_days),
            unused_current=days(self.unused_current_days),
            begin_below=self.begin_below,
            stop_at=max(self.stop_at, self.begin_below),
        )


def days(number: float) -> timedelta | None:
    """Return NUMBER of days; None for 0, which stands for no end."""
    return timedelta(days=number) if number else None
