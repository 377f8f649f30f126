"""What an exception says, without what a framework wraps around it."""

import re

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
WHERE = re.compile(r"^Exception encountered when calling (?P<what>[^\n]*?)\.?\n+", re.MULTILINE)
ARGUMENTS = re.compile(r"\n+\s*Arguments received by .*", re.DOTALL)
NODES = re.compile(r'^\s*(File "[^"]*", line \d+.*)?\n', re.MULTILINE)


def plain(text: str) -> str:
    """A message without colours, the list of arguments that Keras adds, and the lines in which a graph was defined."""
    text = ARGUMENTS.sub("", COLOURS.sub("", text))
    text = WHERE.sub(lambda match: f"in {match['what']}: ", text)
    return NODES.sub("", text).strip()
