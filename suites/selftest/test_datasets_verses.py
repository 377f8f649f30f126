"""The pairs of verses are what their documentation says, are paired rightly, and do not leak from part to part."""

import importlib.util
import lzma
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets import alignment, build_verses, verses
from datasets.sequences import END, PAD, START
from datasets.verified import DatasetError
from datasets.verses import SHARED_RUN, SPECIAL, UNKNOWN, Verse, Vocabulary


def length(verse: Verse) -> int:
    return max(len(verse.english.split()), len(verse.spanish.split()))


def test_the_counts_are_the_documented_ones() -> None:
    pairs = verses.load()
    assert len(pairs) == len({(v.book, v.chapter, v.verse) for v in pairs}) == 30_707
    assert sum(len(v.english.split()) for v in pairs) == 741_343
    assert sum(len(v.spanish.split()) for v in pairs) == 695_431
    assert [sum(length(v) <= most for v in pairs) for most in (15, 20, 25)] == [6_049, 12_360, 17_883]
    assert max(map(length, pairs)) == 86
    assert len({word for v in pairs for word in verses.tokens(v.english)}) == 12_265
    assert len({word for v in pairs for word in verses.tokens(v.spanish)}) == 27_935
    assert Verse("John", 11, 35, "Jesus wept.", "Y lloró Jesús.") in pairs


def test_the_table_has_what_its_script_leaves_in() -> None:
    for verse in verses.load():
        assert (verse.book, verse.chapter) not in build_verses.LEFT_OUT
        sizes = len(verse.english), len(verse.spanish)
        assert 0 < max(sizes) <= 2 * min(sizes)
        for text in (verse.english, verse.spanish):
            assert build_verses.plain(text) == text == build_verses.without_colophon(text)
            assert "World English Bible" not in text


def test_books_that_retell_each_other_are_many_and_stay_together() -> None:
    """The reason why whole books are held out, and why some are not."""
    books = defaultdict(set)
    for verse in verses.load():
        for run in verses.runs(verse.english):
            books[run].add(verse.book)
    groups = verses.ALWAYS_TRAINED_ON + verses.HELD_OUT_WHOLE
    group_of = {book: group for group in groups for book in group}
    assert set(group_of) == {verse.book for verse in verses.load()}
    assert len(group_of) == sum(map(len, groups))
    elsewhere = {"books": 0, "groups": 0}
    for verse in verses.load():
        long = [run for run in verses.runs(verse.english) if len(run) == SHARED_RUN]
        others = {book for run in long for book in books[run]} - {verse.book}
        elsewhere["books"] += bool(others)
        elsewhere["groups"] += any(group_of[book] != group_of[verse.book] for book in others)
    assert elsewhere["books"] == 2_097
    assert elsewhere["groups"] < 0.1 * elsewhere["books"]


@pytest.mark.parametrize("seed", range(3))
def test_nothing_leaks_from_part_to_part(seed: int) -> None:
    """Wrong variants: a book, a pair, or a long quotation, is in both parts."""
    split = verses.split(seed=seed, most_words=25)
    train, validation = split.train.verses, split.validation.verses
    assert len(validation) == 1000
    assert max(map(length, train + validation)) <= 25
    assert {v.book for v in train}.isdisjoint(v.book for v in validation)
    for language in ("english", "spanish"):
        trained_on = {run for verse in train for run in verses.runs(getattr(verse, language))}
        assert trained_on.isdisjoint(run for verse in validation for run in verses.runs(getattr(verse, language)))
        texts = {" ".join(verses.tokens(getattr(verse, language))) for verse in train}
        assert texts.isdisjoint(" ".join(verses.tokens(getattr(verse, language))) for verse in validation)


def test_the_split_depends_on_its_arguments_alone() -> None:
    first, again, other = (verses.split(seed=seed, most_words=12, validation=200) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.train.english, again.train.english)
    np.testing.assert_array_equal(first.validation.spanish, again.validation.spanish)
    assert first.english == again.english
    assert {v.book for v in first.validation.verses} != {v.book for v in other.validation.verses}
    fewer = verses.split(seed=1, most_words=12, validation=200, train=300)
    assert fewer.train.verses == first.train.verses[:300]
    assert fewer.validation.verses == first.validation.verses


def test_vocabularies_know_the_verses_trained_on_alone() -> None:
    split = verses.split(most_words=12, validation=200, train=300, vocabulary_size=1000)
    for language, known in (("english", split.english), ("spanish", split.spanish)):
        words = {word for verse in split.train.verses for word in verses.tokens(getattr(verse, language))}
        assert set(known.words) <= words
        assert len(known) == min(1000, SPECIAL + len(words))
        assert (getattr(split.validation, language) == UNKNOWN).any()
        assert max(getattr(part, language).max() for part in (split.train, split.validation)) < len(known)


@pytest.mark.parametrize(
    "options", [{"validation": 0}, {"validation": 9000}, {"train": 0}, {"train": 20_000}, {"most_words": 0}]
)
def test_the_split_refuses_what_it_cannot_make(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="verses to hold out"):
        verses.split(**options)
    with pytest.raises(ValueError, match="vocabulary"):
        verses.split(vocabulary_size=SPECIAL)


def test_frequent_words_come_first() -> None:
    assert verses.vocabulary(["b a B, c", "a c b"], SPECIAL + 3).words == ("b", "a", "c")
    assert verses.tokens("Él dijo: «¡Sí!», God’s") == [
        "él",
        "dijo",
        ":",
        "«",
        "¡",
        "sí",
        "!",
        "»",
        ",",
        "god",
        "’",
        "s",
    ]


text = st.lists(st.sampled_from(["in", "the", "beginning", ",", "día", "¿", "?"]), max_size=6).map(" ".join)
KNOWN = Vocabulary(("in", "the", ",", "día", "?"))


@given(st.lists(st.builds(Verse, st.just("Gen"), st.just(1), st.just(1), text, text), min_size=1, max_size=5))
def test_encoded_verses_can_be_read_back(drawn: list[Verse]) -> None:
    encoded = verses.encode(drawn, KNOWN, KNOWN)
    assert encoded.verses == tuple(drawn)
    assert encoded.english.dtype == encoded.spanish.dtype == np.int32
    assert encoded.english.shape == (len(drawn), max(len(v.english.split()) for v in drawn) + 1)
    assert encoded.spanish.shape == (len(drawn), max(len(v.spanish.split()) for v in drawn) + 2)
    for verse, english, spanish in zip(drawn, encoded.english.tolist(), encoded.spanish.tolist(), strict=True):
        for text, row in ((verse.english, english), (verse.spanish, spanish[1:])):
            words = text.split()
            assert KNOWN.decode(row) == [word if word in KNOWN.words else "<unknown>" for word in words]
            assert row[len(words)] == END
            assert set(row[len(words) + 1 :]) <= {PAD}
        assert spanish[0] == START
        assert KNOWN.decode(spanish) == KNOWN.decode(spanish[1:])


def test_another_table_is_refused_with_the_remedy(tmp_path: Path) -> None:
    table = lzma.decompress(verses.FILE.read_bytes())
    cases = {"altered": lzma.compress(table[:-9], preset=0), "damaged": verses.FILE.read_bytes()[:999], "missing": None}
    for complaint, stored in cases.items():
        path = tmp_path / f"{complaint}.xz"
        if stored is not None:
            path.write_bytes(stored)
        with pytest.raises(DatasetError, match=complaint) as refusal:
            verses.load(path)
        assert str(refusal.value).endswith(f"{verses.SHA256}; to get them: python -m datasets.build_verses")


def test_markup_and_notes_leave_no_words_glued_together() -> None:
    osis = '<w lemma="a">God</w><note placement="foot"><reference>1:1</reference>The <w>Hebrew</w></note><w>created</w>'
    assert build_verses.plain(osis) == "God created"
    assert build_verses.plain('<l level="1"/>light,<l/> <l/><q who="x">“<w>Let</w> </q>it <w>be</w> .') == (
        "light, “Let it be."
    )
    assert build_verses.plain(
        "<speaker>Friends</speaker><w>hay allí</w><transChange>también</transChange><w>oro</w>"
    ) == ("hay allí también oro")
    assert build_verses.plain("¿ <w>Quién</w> , <w>yo</w> ?\n ( él )") == "¿Quién, yo? (él)"


def test_what_follows_the_end_of_a_letter_is_cut_off() -> None:
    end = "La gracia sea con vosotros. Amén."
    assert build_verses.without_colophon(f"{end} Escrita de Roma á los Colosenses; enviada con Onésimo.") == end
    for whole in (end, "Amén. Y dijo: Amén.", "La ley fué escrita. Amén.", "Es Escrita de Roma."):
        assert build_verses.without_colophon(whole) == whole


def test_pairs_that_cannot_be_trusted_are_left_out() -> None:
    pairs = {
        ("Gen", 1, 1): ("four", "dos"),
        ("Gen", 1, 2): ("before the gap", "antes del hueco"),
        ("Gen", 1, 3): ("a gap", ""),
        ("Gen", 1, 4): ("long" * 3, "corto"),
        ("Gen", 1, 5): ("short", "largo" * 3),
        ("Jonah", 2, 1): ("left", "out"),
    }
    assert build_verses.well_paired(pairs) == {("Gen", 1, 1): ("four", "dos")}


def genesis() -> dict[alignment.Reference, tuple[str, str]]:
    return {(v.book, v.chapter, v.verse): (v.english, v.spanish) for v in verses.load() if v.book == "Gen"}


@pytest.mark.parametrize("distance", [-3, 1])
def test_verses_paired_with_a_neighbours_translation_are_seen(distance: int) -> None:
    """And nothing else is, so that the script would have refused a table with other chapters of this kind."""
    pairs = genesis()
    shifted = dict(pairs)
    for book, chapter, verse in pairs:
        if chapter == 24 and 30 < verse <= 50:
            shifted[book, chapter, verse] = pairs[book, chapter, verse][0], pairs[book, chapter, verse + distance][1]
    assert alignment.shifted_chapters(pairs) == {}
    found = alignment.shifted_chapters(shifted)
    assert set(found) == {("Gen", 24)}
    assert 12 <= found["Gen", 24] <= 20


def test_the_script_says_in_one_line_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, target = tmp_path / "any.deb", tmp_path / "verses.tsv.xz"
    package.write_bytes(b"another package")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DatasetError, match=r"to get it: python -m pip install pysword==0\.2\.8$"):
        build_verses.build((package, package), target)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: "here")
    with pytest.raises(DatasetError, match=build_verses.PACKAGE_SHA256["sword-text-web"]):
        build_verses.build((package, package), target)
    few = {("Gen", 1, 1): ("In the beginning", "En el principio")}
    monkeypatch.setattr(build_verses, "read", lambda _: few)
    with pytest.raises(DatasetError, match=f"the table has SHA-256 .*, expected {verses.SHA256}"):
        build_verses.build((package, package), target)
    monkeypatch.setattr(build_verses, "shifted_chapters", lambda _: {("Gen", 1): 5})
    with pytest.raises(DatasetError, match="paired wrongly"):
        build_verses.build((package, package), target)
    assert not target.exists()


def test_the_script_makes_the_committed_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its slow check, from the pairs as they are: what is written is what is read."""
    pairs = {(v.book, v.chapter, v.verse): (v.english, v.spanish) for v in verses.load()}
    monkeypatch.setattr(build_verses, "read", lambda _: pairs)
    monkeypatch.setattr(build_verses, "shifted_chapters", lambda _: {})
    monkeypatch.setattr(lzma, "compress", lambda table, **_: table)
    target = tmp_path / "table"
    build_verses.build((target, target), target)
    assert target.read_bytes() == lzma.decompress(verses.FILE.read_bytes())
