"""Steps from one release's tables to the next one's, applied in order at each start."""
