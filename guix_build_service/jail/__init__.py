"""Manifests that are no data: run by Guix where they reach nothing, and then handled as data like all others.

`plan` says what is around them, `evaluate` has them run there, and `answer` reads what came of it, of which nothing is
believed that Guix itself does not say again outside.
"""
