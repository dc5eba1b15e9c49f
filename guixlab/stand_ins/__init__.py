"""Contents for Guix packages at the store paths that Guix itself gives them, made from wheels and Debian packages."""
