"""Implementations made of TensorFlow, on its own backend."""
