"""What a message keeps of an exception, and what a framework has put around it."""

import pytest

from suites.messages import plain

KERAS = (
    "Exception encountered when calling Dense.call().\n\n\x1b[1mValueError: too long\x1b[0m\n\n"
    "Arguments received by Dense.call():\n  • inputs=tf.Tensor(shape=(2, 3))\n  • training=None"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (KERAS, "in Dense.call(): ValueError: too long"),
        (
            'Graph execution error:\n\n  File "a.py", line 3, in f\nDetected at node x\n',
            "Graph execution error:\nDetected at node x",
        ),
        ("got 3,\n\nexpected 4", "got 3,\nexpected 4"),
        ("", ""),
    ],
)
def test_a_message_is_what_was_said(text: str, expected: str) -> None:
    assert plain(text) == expected
