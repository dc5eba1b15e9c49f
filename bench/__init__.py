"""Benchmarks on a real Guix, hub and proxy: ours beside the ways that people would take without us; for development only."""
