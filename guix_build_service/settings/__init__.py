"""What the administrator configures of the service, a room at a time, as traitlets."""
