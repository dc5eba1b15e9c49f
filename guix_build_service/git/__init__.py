"""How the service runs Git, and which hosts it talks to."""
