"""Running builds: whose they are, what becomes known of them, and what stays on disk of those that are done."""
