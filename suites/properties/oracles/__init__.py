"""What is true of each technique, in float64 NumPy: the values that properties compare with, and their bounds."""
