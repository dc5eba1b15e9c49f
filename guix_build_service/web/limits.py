"""How much one person may ask of the service, so that nobody keeps it from the others."""

import time
from collections.abc import Callable

from traitlets import Integer
from traitlets.config import Configurable

MOST_KNOWN = 10_000
"""Names that a `Pace` remembers at most before it forgets those that asked for nothing in a while."""


class RequestLimits(Configurable):
    """How many requests the service answers for one person, who may be many browsers and programs.

    Strangers are not counted: nothing is done for them but to send them to the hub, or to look at the proof of a delivery.
    """

    changes_a_minute = Integer(
        600,
        min=0,
        help="""How many requests that change something one person may send in a minute; 0 for any number.

        As many may come at once; beyond that the answer is 429 with `Retry-After`.
        """,
    ).tag(config=True)

    reads_a_minute = Integer(
        6000, min=0, help="How many requests that change nothing one person may send in a minute; 0 for any number."
    ).tag(config=True)

    deliveries_a_minute = Integer(
        600, min=0, help="How many webhooks' deliveries one address may send in a minute, forged ones too; 0 for any number."
    ).tag(config=True)

    streams = Integer(600, min=1, help="How many builds one person may follow at the same time.").tag(config=True)


class Pace:
    """How fast each of many may go: a bucket each, which holds a minute's worth and fills again as time goes by."""

    def __init__(self, a_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._a_minute = a_minute
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}
        """What was left to each, and when."""

    def wait(self, name: str) -> float:
        """Take one for NAME and return 0, or take none and return the seconds after which there is one."""
        if not self._a_minute:
            return 0.0
        moment = self._clock()
        left = self._filled(name, moment)
        if left < 1:
            return (1 - left) * 60 / self._a_minute
        if name not in self._left and len(self._left) >= MOST_KNOWN:
            self._forget(moment)
        self._left[name] = (left - 1, moment)
        return 0.0

    def _filled(self, name: str, moment: float) -> float:
        left, since = self._left.get(name, (float(self._a_minute), moment))
        return min(self._a_minute, left + (moment - since) * self._a_minute / 60)

    def _forget(self, moment: float) -> None:
        """Forget those whose buckets are full again: that is what somebody new has."""
        self._left = {name: kept for name, kept in self._left.items() if self._filled(name, moment) < self._a_minute}
