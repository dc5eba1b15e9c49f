"""``make run``: the whole of GuixSpawner on one machine, out of a checkout, for trying it and for its own tests."""
