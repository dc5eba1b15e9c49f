"""The hub-managed service that turns Git repositories into Guix profiles."""
