"""Secrets that the service keeps for people: credentials of private repositories and webhooks' keys, sealed at rest."""
