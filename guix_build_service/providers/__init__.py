"""What people paste, and what links of BinderHub say, turned into repository, ref and path: one module a provider.

All of it is words about addresses: nothing here asks anybody, and whether a host may be asked is decided elsewhere
(`guix_build_service.git.hosts`).
"""

from guix_build_service.providers.archives import ArchiveUnsupported
from guix_build_service.providers.place import Place
from guix_build_service.providers.reading import PREFIXES, UnknownProvider, read, read_spec

__all__ = ["PREFIXES", "ArchiveUnsupported", "Place", "UnknownProvider", "read", "read_spec"]
