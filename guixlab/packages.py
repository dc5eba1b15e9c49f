"""Which Debian packages a folder is provisioned with."""

from __future__ import annotations

# Root file system with Guix: the suite that has Guix 1.5.
GUIX_SUITE = "sid"
GUIX_PACKAGES = ("guix", "ca-certificates", "guile-zstd", "git", "slirp4netns")

# What stand-ins are made of: the suite whose Python has the minor version of Guix 1.5.0's.
DEBIAN_SUITE = "bookworm"
PYTHON = ("python3.11", "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib")
BASE = (
    "bash",
    "busybox-static",
    "ca-certificates",
    "coreutils",
    "curl",
    "debianutils",
    "desktop-file-utils",
    "diffutils",
    "file",
    "findutils",
    "gawk",
    "git",
    "grep",
    "guile-3.0",
    "guile-3.0-libs",
    "gzip",
    "install-info",
    "less",
    "libc-bin",
    "libgcc-s1",
    "libglib2.0-bin",
    "libgomp1",
    "libstdc++6",
    "locales",
    "make",
    "man-db",
    "nano",
    "ncurses-base",
    "ncurses-bin",
    "patchelf",
    "procps",
    "sed",
    "shared-mime-info",
    "tar",
    "texinfo",
    "tini",
    "xfonts-utils",
    "xz-utils",
    "bzip2",
    "unzip",
    "zip",
)
R = (
    "r-base-core",
    "r-cran-irkernel",
    "r-cran-ggplot2",
    "r-cran-cpp11",
    "r-cran-shiny",
    "r-cran-stringi",
    "r-cran-svglite",
    "r-cran-systemfonts",
    "r-cran-textshaping",
    "fontconfig-config",
    "fonts-dejavu-core",
    "tzdata",
)
# Not for stand-ins themselves: what makes them.
TOOLS = ("python3-pip", "tcc", "libc6-dev")
DEBIAN_PACKAGES = (*PYTHON, *BASE, *R, *TOOLS)
