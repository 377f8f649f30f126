"""Make ``verses.tsv.xz``, pairs of English and Spanish verses, from two public-domain translations in Debian.

    python -m pip install pysword==0.2.8
    python -m datasets.build_verses                                   # downloads two packages with apt-get
    python -m datasets.build_verses sword-text-web_*.deb sword-text-sparv_*.deb     # or takes them from files

It takes about a minute, most of it to check that no chapter is left whose verses are paired wrongly.
"""

import argparse
import functools
import hashlib
import importlib.util
import lzma
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from datasets import debian
from datasets.alignment import Reference, shifted_chapters
from datasets.verified import DatasetError
from datasets.verses import FILE, SHA256

ENGLISH = ("sword-text-web", "engWEB2015eb")
SPANISH = ("sword-text-sparv", "spaRV1909eb")
"""Debian's package of each text, and the name that the text has in it."""

PACKAGE_SHA256 = {
    "sword-text-web": "930b23670b352f0829a306501de4bebb5e654a2df02cde2cbe86b802177868e1",
    "sword-text-sparv": "5c87f9b2bc97457e8a872f5bae7ea7ce59cb3de1dcee73e4d4740451863694cf",
}
"""Of version 426.0-1 and of version 2.60-1."""

READER = "pysword==0.2.8"

# fmt: off
LEFT_OUT = frozenset({
    # A run of verses is paired with a neighbour's translation; `shifted_chapters` sees all of these.
    ("Num", 13), ("Num", 30), ("1Sam", 24), ("1Kgs", 22), ("1Chr", 21), ("2Chr", 33), ("Job", 39), ("Job", 40),
    ("Hos", 12), ("Jonah", 2),
    # The lengths of verses looked wrong; `shifted_chapters` sees nothing, and to leave them out costs little.
    ("Ps", 5), ("Ps", 58), ("Ps", 120), ("Ps", 140), ("Lam", 5),
    # A glossary follows its last English verse.
    ("Rev", 22),
})
# fmt: on
"""Chapters that are left out."""

LONGER = 2
"""A pair one of whose texts has more than this many times the characters of the other is left out."""

Pairs = dict[Reference, tuple[str, str]]


def plain(osis: str) -> str:
    """The words of a verse in OSIS markup: without notes and the names of speakers, and with single spaces.

    >>> plain('<w>God</w><note>The <w>Hebrew</w> word</note><w>created</w> <w>light</w> . ')
    'God created light.'
    """
    text = re.sub(r"<(note|speaker)\b.*?</\1>", " ", osis, flags=re.DOTALL)
    text = re.sub(r"</?(?:w|q|seg|name)\b[^>]*>", "", text)  # stand within words and beside punctuation
    text = re.sub(r"<[^>]*>", " ", text)  # lines, paragraphs, and words that a translator added
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r" (?=[,.;:?!)”’])", "", text)
    return re.sub(r"(?<=[(¡¿“‘]) ", "", text)


def without_colophon(spanish: str) -> str:
    """A Spanish verse without the sentence at the end of a letter that says whence it was sent, as English has none.

    >>> without_colophon("La gracia sea con vosotros. Amén. Escrita de Roma con Epafrodito.")
    'La gracia sea con vosotros. Amén.'
    """
    return re.sub(r"(?<=Amén\.) [^.]*\b(?:[Ee]scrita|[Ee]nviada)\b[^.]*\.$", "", spanish)


def well_paired(pairs: Mapping[Reference, tuple[str, str]]) -> Pairs:
    """The pairs that can be trusted.

    Left out are the chapters in ``LEFT_OUT``; verses that one of the texts lacks, with the verse before each, which may
    hold what is missing; and pairs of very different lengths.
    """
    lacking = {reference for reference, texts in pairs.items() if not all(texts)}
    doubtful = lacking | {(book, chapter, verse - 1) for book, chapter, verse in lacking}
    return {
        (book, chapter, verse): (english, spanish)
        for (book, chapter, verse), (english, spanish) in pairs.items()
        if (book, chapter) not in LEFT_OUT
        and (book, chapter, verse) not in doubtful
        and max(len(english), len(spanish)) <= LONGER * min(len(english), len(spanish))
    }


def read(packages: tuple[Path, Path]) -> Pairs:
    """All verses of the books that both texts have, as plain text.

    Args:
        packages: Debian's packages of the English and of the Spanish text.

    Raises:
        DatasetError: if a package is not the expected one, or what reads their format is not installed.
    """
    if importlib.util.find_spec("pysword") is None:
        raise DatasetError(f"pysword is not installed; to get it: python -m pip install {READER}")
    for path, (name, _) in zip(packages, (ENGLISH, SPANISH), strict=True):
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != PACKAGE_SHA256[name]:
            raise DatasetError(f"{path} has SHA-256 {found}, expected {PACKAGE_SHA256[name]}, as {name} has")
    with tempfile.TemporaryDirectory() as folder:
        for path in packages:
            for name, contents in debian.files(path, "usr/share/sword").items():
                file = Path(folder) / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(contents)
        return dict(_verses(folder))


def _verses(folder: str) -> Iterator[tuple[Reference, tuple[str, str]]]:
    """Each verse of both texts that are installed in a folder, in the order and the numbering of the Spanish one."""
    from pysword.bible import ZTextModule
    from pysword.modules import SwordModules

    # It would decompress a whole book for each verse, which takes two minutes.
    ZTextModule._decompressed_text = functools.lru_cache(maxsize=4)(ZTextModule._decompressed_text)
    modules = SwordModules(folder)
    modules.parse_modules()
    english, spanish = (modules.get_bible_from_module(text) for _, text in (ENGLISH, SPANISH))

    def text(bible: Any, name: str, chapter: int, verse: int) -> str:
        return plain(bible.get(books=[name], chapters=[chapter], verses=[verse], clean=False))

    for books in spanish.get_structure().get_books().values():
        for book in books:
            for chapter, length in enumerate(book.chapter_lengths, 1):
                for verse in range(1, length + 1):
                    left, right = (text(bible, book.name, chapter, verse) for bible in (english, spanish))
                    yield (book.osis_name, chapter, verse), (left, without_colophon(right))


def build(packages: tuple[Path, Path], target: Path = FILE) -> None:
    """Write the compressed table: book, chapter, verse, English and Spanish, with tabs between them.

    Raises:
        DatasetError: if a package is not the expected one, a chapter is left that is paired wrongly, or the table is
            not the expected one; nothing is written then.
    """
    pairs = well_paired(read(packages))
    if shifted := shifted_chapters(pairs):
        raise DatasetError(f"the verses of these chapters are paired wrongly: {shifted}")
    rows = ("\t".join([*map(str, reference), *texts]) + "\n" for reference, texts in pairs.items())
    table = "".join(rows).encode()
    found = hashlib.sha256(table).hexdigest()
    if found != SHA256:
        raise DatasetError(f"the table has SHA-256 {found}, expected {SHA256}")
    target.write_bytes(lzma.compress(table, preset=9 | lzma.PRESET_EXTREME))


def main() -> None:
    """Run the command line; what cannot be made ends it with one line and exit code 1."""
    parser = argparse.ArgumentParser(description="Make the committed, compressed pairs of English and Spanish verses.")
    parser.add_argument(
        "packages", type=Path, nargs="*", help="the English and the Spanish package; by default apt-get's"
    )
    packages = parser.parse_args().packages
    if len(packages) not in (0, 2):
        parser.error("expected two packages, the English and the Spanish one, or none")
    with tempfile.TemporaryDirectory() as folder:
        try:
            english, spanish = packages or (debian.download(name, Path(folder)) for name, _ in (ENGLISH, SPANISH))
            build((english, spanish))
        except DatasetError as error:
            sys.exit(str(error))
    sys.stdout.write(f"{FILE}: {FILE.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
