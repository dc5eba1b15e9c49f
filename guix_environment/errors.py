"""Everything that can go wrong and is told to a person, as one tree with stable codes.

::

    GuixSpawnerError
    ├── InvalidInput                    what somebody sent cannot be understood
    │   ├── InvalidAddress              a repository's address
    │   ├── InvalidRef                  a branch, tag or commit
    │   └── InvalidOptions              a session's options
    ├── NotFound                        no such thing, or not for this person
    ├── Refused                         understood, and not allowed
    │   ├── HostRefused                 a Git host that this installation does not use
    │   ├── RepositoryWithdrawn         a private repository that an environment's owner can no longer read
    │   ├── ChannelsRefused             Guix channels that this installation does not use
    │   └── LimitReached                a quota or a full disk
    │       └── DiskQuotaReached        what a person's environments hold of the disk
    ├── Conflict                        at odds with what is there
    │   ├── ChangedMeanwhile            no longer what the caller had seen
    │   └── ProfileLetGo                a version whose profile is no longer kept
    ├── RepositoryFailure               the repository does not give what a build needs
    │   ├── RepositoryUnavailable       no repository answers there
    │   │   └── RepositoryUnanswered    nobody answers at all, or too slowly
    │   ├── CredentialUnusable          what opens a private one cannot be read
    │   ├── HostKeyUnknown              over SSH, nobody said by which key its host is known
    │   ├── HostKeyChanged              over SSH, its host shows another key than the one it is known by
    │   ├── RefNotFound                 it has no such branch, tag or commit
    │   ├── ManifestMissing             no manifest.scm
    │   └── RepositoryTooLarge          it goes beyond a limit
    ├── ManifestFailure                 the manifest does not name packages that Guix can put together
    │   ├── ManifestUnreadable          not Scheme, or not of the forms that are read
    │   ├── EvaluationFailed            it was run, and no list of packages came of it
    │   ├── PackagesDefined             it makes packages of its own
    │   ├── PackagesUnknown             Guix has no such packages
    │   └── PackagesConflict            packages that cannot be in one profile
    ├── ChannelsFailure                 the channels file does not name channels that a Guix can be made of
    │   ├── ChannelsUnreadable          not of the forms that are read
    │   ├── ChannelUnavailable          no repository answers at a channel's address
    │   ├── ChannelCommitNotFound       a channel has no such commit, tag or branch
    │   ├── ChannelNotAuthentic         commits that nobody signed who may
    │   └── ChannelTooOld               older than this installation uses
    ├── BuildFailure                    Guix could not build it
    │   ├── BuildTimeout                it took longer than allowed
    │   ├── BuildSuperseded             a newer commit was asked for meanwhile
    │   └── BuildInterrupted            it was ended from outside
    ├── GuixUnavailable                 no Guix, or its daemon does not answer
    ├── StoreUnavailable                the service's database cannot be read or written
    ├── SessionFailure                  a session did not start or ended
    └── RecordInvalid                   an environment record that cannot be read

``message`` says what happened and ``hint`` what to do about it; both are shown to people as they stand, so neither holds a
secret or a path of the server. ``details`` are further facts for programs, as JSON.
"""

from collections.abc import Mapping
from typing import ClassVar


class GuixSpawnerError(Exception):
    """The root of the tree; never raised itself."""

    code: ClassVar[str] = "error"
    """Stable name of this kind of failure, in the API, in records and in metrics."""

    status: ClassVar[int] = 500
    """The HTTP status that goes with it."""

    def __init__(self, message: str, *, hint: str = "", details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, object] = dict(details or {})

    def as_json(self) -> dict[str, object]:
        """Return what the API answers as ``error``: ``code``, ``message``, ``hint`` where there is one, and the details."""
        hint = {"hint": self.hint} if self.hint else {}
        return {**self.details, "code": self.code, "message": self.message, **hint}


class InvalidInput(GuixSpawnerError):
    """What somebody sent cannot be understood."""

    code, status = "invalid-input", 422


class InvalidAddress(InvalidInput):
    """A repository's address that is none, or none that may be used."""

    code = "invalid-address"


class InvalidRef(InvalidInput):
    """A branch, tag or commit that Git itself would refuse."""

    code = "invalid-ref"


class InvalidOptions(InvalidInput):
    """A session's options that are unknown or of the wrong kind."""

    code, status = "invalid-options", 400


class NotFound(GuixSpawnerError):
    """No such thing, or not one that this person may see."""

    code, status = "not-found", 404


class Refused(GuixSpawnerError):
    """Understood, and not allowed."""

    code, status = "refused", 403


class HostRefused(Refused):
    """A Git host that this installation does not talk to."""

    code = "host-refused"


class RepositoryWithdrawn(Refused):
    """The owner of an environment can no longer read its private repository, or it is too long ago that they could."""

    code = "repository-withdrawn"


class ChannelsRefused(Refused):
    """Channels of Guix whose code this installation does not run."""

    code = "channels-refused"


class LimitReached(Refused):
    """A quota, or a disk with too little space left."""

    code, status = "limit-reached", 429


class DiskQuotaReached(LimitReached):
    """A person's environments hold as much of the disk as they may; nothing more is built for them."""

    code = "disk-quota-reached"


class Conflict(GuixSpawnerError):
    """At odds with what is there."""

    code, status = "conflict", 409


class ChangedMeanwhile(Conflict):
    """It was changed since the caller looked at it, who asked for that to be refused."""

    code, status = "changed-meanwhile", 412


class FolderInUse(Conflict):
    """Another process works with the service's folder."""

    code = "folder-in-use"


class ProfileLetGo(Conflict):
    """The profile of this version is no longer kept; it can be built again from the version's record."""

    code = "profile-let-go"


class RepositoryFailure(GuixSpawnerError):
    """The repository does not give what a build needs."""

    code, status = "repository-failure", 422


class RepositoryUnavailable(RepositoryFailure):
    """No repository answers at this address, or not to us."""

    code = "repository-unavailable"


class RepositoryUnanswered(RepositoryUnavailable):
    """Nobody answers at this address now, or too slowly; nothing is known of the repository."""

    code = "repository-unanswered"


class CredentialUnusable(RepositoryFailure):
    """What a person keeps to open a private repository cannot be read, or cannot be kept now."""

    code, status = "credential-unusable", 503


class HostKeyUnknown(RepositoryFailure):
    """Over SSH, the repository's host shows a key, and nobody said that it is the host's."""

    code = "host-key-unknown"


class HostKeyChanged(RepositoryFailure):
    """Over SSH, the repository's host shows another key than the one by which it is known."""

    code = "host-key-changed"


class RefNotFound(RepositoryFailure):
    """The repository has no such branch, tag or commit."""

    code = "ref-not-found"


class ManifestMissing(RepositoryFailure):
    """The repository does not say which packages it needs."""

    code = "manifest-missing"


class RepositoryTooLarge(RepositoryFailure):
    """The repository, or a file of it that must be read, goes beyond a limit."""

    code = "repository-too-large"


class ManifestFailure(GuixSpawnerError):
    """The manifest does not name packages that Guix can put together."""

    code, status = "manifest-failure", 422


class ManifestUnreadable(ManifestFailure):
    """The manifest is not Scheme, or not of the forms that are read as data."""

    code = "manifest-unreadable"


class EvaluationFailed(ManifestFailure):
    """The manifest was run where the administrator allows it, and no list of packages came of that."""

    code = "manifest-evaluation-failed"


class PackagesDefined(ManifestFailure):
    """The manifest makes packages of its own, which are built only where the administrator allows it."""

    code = "packages-defined"


class DefinitionsRefused(ManifestFailure):
    """What would be built for the packages that the manifest makes is not what this hub builds for it."""

    code = "definitions-refused"


class PackagesUnknown(ManifestFailure):
    """Guix has no packages of these names."""

    code = "packages-unknown"


class PackagesConflict(ManifestFailure):
    """Packages that cannot be in one profile."""

    code = "packages-conflict"


class ChannelsFailure(GuixSpawnerError):
    """The channels file does not name channels that a Guix can be made of."""

    code, status = "channels-failure", 422


class ChannelsUnreadable(ChannelsFailure):
    """The channels file is not Scheme, or not of the forms that are read as data."""

    code = "channels-unreadable"


class ChannelUnavailable(ChannelsFailure):
    """No repository answers at the address of a channel, or not to us."""

    code = "channel-unavailable"


class ChannelCommitNotFound(ChannelsFailure):
    """A channel has no such commit, tag or branch."""

    code = "channel-commit-not-found"


class ChannelNotAuthentic(ChannelsFailure):
    """A channel has commits that are not signed by those who may sign them, so nobody knows whose code it is."""

    code = "channel-not-authentic"


class ChannelTooOld(ChannelsFailure):
    """A channel is asked for at a commit from before the oldest that this installation uses."""

    code = "channel-too-old"


class BuildFailure(GuixSpawnerError):
    """Guix could not build the environment."""

    code, status = "build-failed", 422


class BuildTimeout(BuildFailure):
    """The build took longer than this installation allows."""

    code = "build-timeout"


class BuildMemory(BuildFailure):
    """Guix needed more memory to prepare or follow the build than this installation allows."""

    code = "build-memory"


class BuildSuperseded(BuildFailure):
    """A newer commit of the same branch was asked for before the build's turn came; the build is cancelled."""

    code = "build-superseded"


class BuildInterrupted(BuildFailure):
    """The build was ended from outside, such as by a restart."""

    code = "build-interrupted"


class GuixUnavailable(GuixSpawnerError):
    """There is no Guix, or its daemon does not answer."""

    code, status = "guix-unavailable", 503


class DaemonUnavailable(GuixUnavailable):
    """Guix's daemon does not answer, or went away; builds wait until it is there again."""

    code = "guix-daemon-unavailable"


class StoreUnavailable(GuixSpawnerError):
    """The service's database cannot be read or written, as with a full disk."""

    code, status = "store-unavailable", 503


class SessionFailure(GuixSpawnerError):
    """A session did not start, or ended by itself."""

    code, status = "session-failed", 500


class ContainerFailure(SessionFailure):
    """A session's container could not be made; `details` say at which step, and what the kernel said."""

    code = "container-failed"


class RecordInvalid(GuixSpawnerError):
    """An environment record that is damaged, or of a newer release than this one."""

    code, status = "record-invalid", 500
