"""The built-ins of Keras behind the names of the contracts."""
