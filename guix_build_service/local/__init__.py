"""What a service has in common with the commands on its own machine: its socket, whose turn it is, how it was started."""
