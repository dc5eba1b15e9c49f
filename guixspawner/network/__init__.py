"""What a session reaches, and how it is reached: sockets in, the hub's API and the outside world out.

The gateway, a part of it that is a process of its own, needs nothing of JupyterHub; so nothing is imported here.
"""
