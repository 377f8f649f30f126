"""Techniques as KerasHub implements them."""
