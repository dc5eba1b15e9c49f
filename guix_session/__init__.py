"""What runs inside a session beside JupyterLab, in its server's process.

The session starts it (`guix_session.start`), on the server layer's Python.  It needs the standard library and what the
server layer has, and knows neither the spawner nor the build service: what they have to tell comes in variables
(`surroundings`).
"""
