"""optax behind the names of the contracts, wherever it is installed."""
