"""Where the tests of Touchstone itself run."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what compares an oracle with another library in another process: it may compute with any framework."""
    for item in items:
        if item.path.name.endswith("_oracle.py"):
            item.add_marker(pytest.mark.isolated("oracle"))
