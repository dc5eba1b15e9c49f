"""What the spawner and the build service agree on, in the standard library alone.

The build service writes an *environment record* for whatever it built; the spawner starts sessions from that record. Both
import this package and never each other.
"""
