"""Whatever is done to a run folder or another project's file, each verb ends as it should; the fuzzer would see it."""

import random
from pathlib import Path

import pytest

from reports.store.run_folder import PROPERTIES
from reports.verbs import check
from suites.selftest import fuzzing
from suites.selftest.fuzzing import VERBS, Markup

RUNS = 160
"""Of the 10,000 that `python -m suites.selftest.fuzzing` tries."""


def test_every_verb_ends_with_its_files_or_with_one_line() -> None:
    """Wrong variants: a traceback; text that becomes markup; a file beside the output; two lines, or none."""
    with fuzzing.prepared() as tried:
        ends = [tried(number, 7) for number in range(RUNS)]
    assert [fault for _, fault in ends if fault] == []
    assert {end.rpartition(" ")[0] for end, _ in ends} == set(VERBS)
    assert {end.rpartition(" ")[2] for end, _ in ends} == {"0", "2"}


@pytest.mark.parametrize(
    ("page", "seen"),
    [
        ("<script></script><p>&lt;script&gt; onerror=1", []),
        ("<script></script><p><script>alert(1)</script>", ["2 scripts"]),
        ("<script></script><p title='' onclick=alert(1)>", ["p onclick=alert(1)"]),
        ("<script></script><a href=' JavaScript:alert(1)'>", ["a href= JavaScript:alert(1)"]),
        ("<script></script><img src=x>", ["img"]),
    ],
)
def test_what_would_run_is_seen(page: str, seen: list[str]) -> None:
    """Wrong variant: a search for the text, which is right on a page where it is text."""
    assert Markup(page).found == seen


def test_faults_of_a_verb_are_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Wrong variants: an exception taken for an end; a write elsewhere that is not heard; a silent failure."""

    def silent(_: object) -> int:
        return 2

    def elsewhere(_: object) -> int:
        (tmp_path / "escape").write_text("", encoding="utf-8")
        return 0

    def breaks(_: object) -> int:
        raise KeyError("place")

    with fuzzing.prepared() as tried:
        number = next(n for n in range(1000) if random.Random(f"0/{n}").choice(VERBS) == "check")
        for run, expected in ((silent, "said []"), (elsewhere, "wrote elsewhere"), (breaks, "KeyError")):
            monkeypatch.setattr(check, "run", run)
            assert expected in tried(number, 0)[1]


def test_damages_are_of_all_kinds_and_the_same_every_time(tmp_path: Path) -> None:
    """Wrong variant: a seed that is not used, so that nobody can try a failure again."""
    right = fuzzing.whole(tmp_path)
    content = (right / PROPERTIES).read_bytes()

    def told(seed: int) -> list[str]:
        draw, said = random.Random(seed), []
        for _ in range(30):
            path = tmp_path / "copy.jsonl"
            path.write_bytes(content)
            said.append(fuzzing.damage(path, draw))
            path.unlink() if not path.is_dir() else path.rmdir()
        return said

    first = told(0)
    assert first == told(0) != told(1)
    assert {"bytes"} < set(first)
    assert any(" is " in each for each in first)
