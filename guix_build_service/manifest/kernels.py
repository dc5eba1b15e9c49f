"""Kernels that a manifest does not name and that its notebooks need."""

from guix_build_service.manifest.canonical import Entry, Kind, PackageList


def with_kernels(packages: PackageList) -> PackageList:
    """Return PACKAGES and, for Python and R without one, the kernel of the same Guix revision.

    The interpreter itself is added too: in Guix only the package that owns a search path (``python``, ``r-minimal``) makes a
    profile set it.
    """
    names = {entry.name for entry in packages.entries if entry.kind is Kind.PACKAGE}
    added = []
    if any(name == "python" or name.startswith("python-") for name in names):
        added += ["python", "python-ipykernel"]
    if any(name in {"r", "r-minimal"} or name.startswith("r-") for name in names):
        added += ["r-irkernel"] if "r" in names else ["r-minimal", "r-irkernel"]
    missing = tuple(name for name in added if name not in names)
    return PackageList((*packages.entries, *(Entry(name) for name in missing)), added=missing)
