"""The service as a program: its configuration, its parts put together, and what its administrator does on its machine."""
