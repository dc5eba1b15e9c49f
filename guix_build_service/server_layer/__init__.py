"""The layer of every session that is the hub's own: what it is made from, and how it is built."""
