"""Property-based tests, one module per technique, that run against any implementation."""
