"""Published code of others in plain Python and NumPy, which needs no library."""
