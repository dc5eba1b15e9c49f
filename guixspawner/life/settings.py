"""How long sessions live, by the administrator's choice, and what of it a session is told."""

from collections.abc import Mapping

from traitlets import Float, Integer
from traitlets.config import Configurable

IDLE = 24 * 3600.0
"""Seconds: who leaves in the evening finds the session the next morning, and not after the weekend."""

_ACTIVITY = 300.0
"""Seconds between two reports of a session's activity to the hub, unless less is needed (JupyterHub's own default)."""


class SessionLife(Configurable):
    """How long sessions live, and how much their logs may hold.

    `configure` takes `idle_timeout` and `maximal_age` as well, and also has the service that ends sessions for them; set
    here alone, they only tell sessions what such a service of one's own does.
    """

    idle_timeout = Float(
        0.0,
        min=0.0,
        help="""
        Seconds after which a session that nobody uses is ended; 0 for never.

        The session's programs are told, and can warn before.
        """,
    ).tag(config=True)

    maximal_age = Float(
        0.0,
        min=0.0,
        help="""
        Seconds after which a session is ended in any case; 0 for never.

        The session's programs are told, and can warn before.
        """,
    ).tag(config=True)

    kernel_idle_timeout = Float(
        0.0,
        min=0.0,
        help="""
        Seconds after which a kernel is ended that computes nothing, and that no browser is connected to; 0 for never.

        Its memory is free then, and so are its variables. The session goes on.
        """,
    ).tag(config=True)

    log_limit = Integer(
        10 * 1024 * 1024,
        min=64 * 1024,
        help="""
        Bytes of a session's log beyond which its older half is dropped.

        It is looked at whenever the hub looks whether the session runs, every `GuixSpawner.poll_interval` seconds; between
        two looks a session can write more.
        """,
    ).tag(config=True)

    def variables(self) -> Mapping[str, str]:
        """Return what a session's environment says of how long it lives."""
        told = {}
        if self.idle_timeout:
            told["GUIX_SESSION_IDLE_SECONDS"] = f"{self.idle_timeout:.0f}"
            # A session in use must have told so well before it would count as idle.
            told["JUPYTERHUB_ACTIVITY_INTERVAL"] = f"{max(1.0, min(_ACTIVITY, self.idle_timeout / 4)):.0f}"
        if self.maximal_age:
            told["GUIX_SESSION_MAXIMAL_AGE"] = f"{self.maximal_age:.0f}"
        return told

    def server_options(self) -> tuple[str, ...]:
        """Return the options of Jupyter's server by which idle kernels are ended (``MappingKernelManager``)."""
        if not self.kernel_idle_timeout:
            return ()
        seconds = max(1, round(self.kernel_idle_timeout))
        return (
            f"--MappingKernelManager.cull_idle_timeout={seconds}",
            f"--MappingKernelManager.cull_interval={max(1, min(300, seconds // 4))}",
        )
