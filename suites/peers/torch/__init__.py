"""Implementations made of PyTorch, on its own backend."""
