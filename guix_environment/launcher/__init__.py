"""The program that makes a container, in two steps: namespaces first, and what is in them when the hub says so.

It runs once for each start, in front of everything else, so nothing here imports more of the standard library than it
needs; see `guix_environment.launcher.program` for the order of events.
"""
