"""What a session reaches, and how it is reached: sockets in, the hub's API and the outside world out."""
