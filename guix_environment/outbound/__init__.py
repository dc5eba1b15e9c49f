"""The program that connects a session's network namespace to the outside, in front of slirp4netns.

It runs once for each session that has a way out, so nothing here imports more of the standard library than it needs; see
`guix_environment.outbound.program` for the order of events.
"""
