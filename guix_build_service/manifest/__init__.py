"""Manifests as data: which packages a repository asks for, found without running anything of it.

`read_manifest` is what the pipeline calls; `reader` knows Scheme's syntax, `grammar` the forms that are understood, and
`canonical` what Guix gets instead of the repository's own text.
"""
