"""What the service knows about, as values: nothing here does anything, and everything may import it."""
