"""What forges send when something was pushed: whether it is theirs, and what it says.

All of it is words and arithmetic about one request: nothing here asks anybody, and nothing remembers.
"""
