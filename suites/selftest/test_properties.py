"""Which file of properties belongs to which technique."""

from pathlib import Path

import pytest

from suites import implementations, properties
from suites.properties import modules_of, technique_of

TECHNIQUES = {"attention": "", "attention_by_blocks": "", "schedules": ""}


@pytest.fixture
def few_techniques(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three techniques, of which one begins with the name of another."""
    monkeypatch.setattr(properties, "techniques", lambda: TECHNIQUES)


@pytest.mark.usefixtures("few_techniques")
@pytest.mark.parametrize(
    ("file", "technique"),
    [
        ("suites/properties/test_schedules.py", "schedules"),
        ("suites/properties/test_schedules_training.py", "schedules"),
        ("suites/properties/test_attention_by.py", "attention"),
        ("suites/properties/test_attention_by_blocks.py", "attention_by_blocks"),
        ("suites/properties/test_attention_by_blocks_gradient.py", "attention_by_blocks"),
    ],
)
def test_a_file_belongs_to_the_longest_technique_that_it_begins_with(file: str, technique: str) -> None:
    """Wrong: the first that fits, or all before the first underscore."""
    assert technique_of(file) == technique


@pytest.mark.usefixtures("few_techniques")
@pytest.mark.parametrize("file", ["test_schedulesque.py", "test_schedule.py", "test_learning_rates.py"])
def test_a_file_of_no_technique_is_refused(file: str) -> None:
    """Wrong: a beginning that ends within a word; a technique without a reference."""
    with pytest.raises(ValueError, match=rf"{file} must be called test_<technique>.py .*: attention, "):
        technique_of(file)


def test_every_file_is_found_once() -> None:
    """Wrong: files of a technique by a pattern such as ``test_<technique>*``, which finds those of longer names too."""
    here = Path(properties.__file__).parent
    found = [module for technique in implementations.techniques() for module in modules_of(technique)]
    assert sorted(found) == sorted(f"suites.properties.{path.stem}" for path in here.glob("test_*.py"))
    for technique in implementations.techniques():
        assert modules_of(technique)[0] == f"suites.properties.test_{technique}", "the main file comes first"


@pytest.mark.parametrize("drawn_from", ["schedules_training_cases.py", "numerics.py"])
def test_the_digest_of_a_further_file_covers_what_it_draws_from(
    drawn_from: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong: the digest of the file alone, by which rows would be kept although their cases have changed."""
    digest, read = implementations.source_digest.__wrapped__, Path.read_bytes
    before = digest("suites.properties.test_schedules_training")
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b"\n" * (path.name == drawn_from))
    assert digest("suites.properties.test_schedules_training") != before
