"""Implementations made of JAX, on its own backend."""
