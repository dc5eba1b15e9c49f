"""What the web itself refuses, as further leaves of the project's one error tree."""

from guix_environment.errors import GuixSpawnerError, InvalidInput, Refused


class MalformedRequest(InvalidInput):
    """A request that is not of the form that its address takes."""

    code, status = "malformed-request", 400


class NotLoggedIn(GuixSpawnerError):
    """Nobody the hub knows: no login and no token, or one that has ended."""

    code, status = "not-logged-in", 401


class NoAccess(Refused):
    """Somebody the hub knows, and who may not use this service."""

    code = "no-access"


class RequestForged(Refused):
    """A request with a browser's login that did not come from one of our own pages."""

    code = "request-forged"


class MethodNotAllowed(GuixSpawnerError):
    """A method that this address does not have."""

    code, status = "method-not-allowed", 405


class RequestTooLarge(GuixSpawnerError):
    """A body beyond what any request needs."""

    code, status = "request-too-large", 413


class MediaTypeRefused(GuixSpawnerError):
    """A body of another kind than the one that is understood here."""

    code, status = "media-type-refused", 415


class NothingAcceptable(GuixSpawnerError):
    """A caller who takes nothing of what this address answers with."""

    code, status = "nothing-acceptable", 406


class RangeRefused(GuixSpawnerError):
    """A range that begins behind the end."""

    code, status = "range-refused", 416


class TooManyStreams(Refused):
    """One person follows more builds at once than anybody can read."""

    code, status = "too-many-streams", 429


class TooManyRequests(Refused):
    """One person asks faster than the service answers anybody."""

    code, status = "too-many-requests", 429


class InternalFailure(GuixSpawnerError):
    """Something that nobody thought of; the log has it all."""

    code, status = "internal-failure", 500
