"""How much of the machine a session may use: what is asked for, by what it is enforced, and what is in force."""

from guixspawner.limits.inside import with_limits
from guixspawner.limits.model import Backend, BackendKind, Enforced, Limits, Usage
from guixspawner.limits.promises import Machine, Promises
from guixspawner.limits.session_limits import SessionLimits

__all__ = ["Backend", "BackendKind", "Enforced", "Limits", "Machine", "Promises", "SessionLimits", "Usage", "with_limits"]
