"""What can be done with run folders: one module per verb of ``python -m reports``.

A verb's first line of documentation is its help. It has ``arguments(parser)``, which says what it takes, and
``run(options) -> int``, which does it, and returns the exit code. Whatever is heavy is imported in the latter.
"""

VERBS = ("report", "compare", "gate", "history", "merge", "import", "export", "check")
"""All verbs, in the order of the help."""
