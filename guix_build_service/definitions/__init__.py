"""Packages that a manifest makes itself: what Guix would build for them, found out and read before any of it is built.

The manifest is run in the jail once more, and Guix there, which has no daemon, is given a store that is none: `recorder`
answers what Guix adds to a store with the path that a daemon would have answered, and keeps what was added as data.
`inspection` reads the derivations among it, `answer` which of them the manifest asks for.  All of this is pure but the talk.
"""
