"""What is written down for people to read later: builds' logs, sessions' logs, the service's own, and the audit log."""
