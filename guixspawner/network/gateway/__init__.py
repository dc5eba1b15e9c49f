"""The gateway: a process beside the hub that stands between sessions and everything else.

It forwards the hub's API to sessions, holds the ports by which a proxy that knows no sockets reaches them, filters what they
ask of the outside world, and keeps the programs that connect them to it.  It is not the hub's child, so that a hub that ends
cuts nobody off; it needs neither JupyterHub nor a configuration beside the file that the hub writes for it.
"""
