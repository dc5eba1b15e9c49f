"""Data: which stand-ins are made when nothing is said, and what each Guix package is made of."""

from __future__ import annotations

# Specifications as `guix package -i` takes them.  Together they need not make a profile without conflicts.
DEFAULT_SPECIFICATIONS = (
    "python",
    "python-numpy",
    "python-pandas",
    "python-scipy",
    "python-matplotlib",
    "python-scikit-learn",
    "python-requests",
    "python-ipykernel",
    "python-networkx",
    "python-pip",
    "python-setuptools",
    "python-wheel",
    "python-bokeh",
    "python-voila",
    "r-minimal",
    "r-irkernel",
    "r-ggplot2",
    "r-shiny",
    "bash",
    "bash-minimal",
    "bzip2",
    "coreutils",
    "coreutils-minimal",
    "curl",
    "diffutils",
    "file",
    "findutils",
    "gawk",
    "git",
    "git-minimal",
    "glibc-locales",
    "grep",
    "gzip",
    "less",
    "make",
    "nano",
    "ncurses",
    "nss-certs",
    "patchelf",
    "procps",
    "sed",
    "tar",
    "tini",
    "unzip",
    "which",
    "xz",
    "zip",
)

# What is left out, by the beginnings of names, where other packages propagate it: TeX and Node for exports, and large
# libraries that a package can do without.  Profiles of those other packages leave it out, too.
LEFT_OUT = ("apache-arrow", "node", "python-dask", "python-modin", "python-pyarrow", "texlive-")

# Packages that have no specification of their own, as MODULE/VARIABLE.
DEFAULT_VARIABLES = ("(gnu packages gcc)/gcc",)

# Guix package, or package:output -> Debian packages.
FROM_DEBIAN: dict[str, tuple[str, ...]] = {
    "bash": ("bash",),
    "bash-minimal": ("bash",),
    "bash-static": ("bash",),
    "bzip2": ("bzip2",),
    "coreutils": ("coreutils",),
    "coreutils-minimal": ("coreutils",),
    "curl": ("curl",),
    "desktop-file-utils": ("desktop-file-utils",),
    "diffutils": ("diffutils",),
    "file": ("file", "libmagic-mgc"),
    "findutils": ("findutils",),
    "gawk": ("gawk",),
    "gcc:lib": ("libstdc++6", "libgcc-s1", "libgomp1"),
    "git": ("git",),
    "git-minimal": ("git",),
    "glib:bin": ("libglib2.0-bin", "libglib2.0-0"),
    "grep": ("grep",),
    "guile": ("guile-3.0", "guile-3.0-libs"),
    "gzip": ("gzip",),
    "less": ("less",),
    "linux-libre-headers": ("linux-libc-dev",),
    "make": ("make",),
    "man-db": ("man-db",),
    "mkfontscale": ("xfonts-utils",),
    "nano": ("nano",),
    "ncurses": ("ncurses-bin", "ncurses-base"),
    "nss-certs": ("ca-certificates",),
    "patchelf": ("patchelf",),
    "procps": ("procps",),
    "python": ("python3.11", "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"),
    "r-minimal": ("r-base-core",),
    "sed": ("sed",),
    "shared-mime-info": ("shared-mime-info",),
    "tar": ("tar",),
    "texinfo": ("texinfo", "install-info"),
    "tini": ("tini",),
    "unzip": ("unzip",),
    "which": ("debianutils",),
    "xz": ("xz-utils",),
    "zip": ("zip",),
}

# Where only some of a Debian package's programs belong to the Guix package.
ONLY_PROGRAMS: dict[str, tuple[str, ...]] = {
    "gzip": ("gzip", "gunzip", "zcat"),
    "which": ("which",),
}

# Programs that look for their files where Debian has them: program -> variables that say where they are.
# ITEM and RUNTIME are replaced by store paths; a name with ! before it overrules the caller's.
LAUNCHED: dict[str, dict[str, dict[str, str]]] = {
    "file": {"file": {"MAGIC": "ITEM/lib/file/magic.mgc"}},
}

# Guix's name of a Python package -> the index's, where it is not the name without `python-`.
PROJECTS = {
    "python-dateutil": "python-dateutil",
    "python-fonttools-minimal": "fonttools",
    "python-json-logger": "python-json-logger",
    "python-lsp-jsonrpc": "python-lsp-jsonrpc",
    "python-pyqt": "PyQt6",
    "python-referencing-bootstrap": "referencing",
}
