"""Races of an epoch of batches: enlarged and augmented digits, from arrays and from files, and words by length.

Each optimisation that a pipeline can switch off has a workload without it. The operation ``epoch`` takes the batches as
fast as they come; ``feed`` spends 2 ms on each with the processor idle, as one does who waits for an accelerator.
Without the technique nothing is cached, functions see one element at a time, and each stage waits for the other.
"""

import functools
import itertools
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.calls import Step
from benchmarks.races import test_race  # noqa: F401 - the one test function; pytest collects it here
from benchmarks.workload import Workload
from suites.implementations import NotProvided

SIDE = 64
"""Height and width of an enlarged digit."""

FILES = 4
BOUNDARIES = (6, 8, 10)
"""Lengths at which a bucket of words ends."""

BUSY_S, REST_S = 0.002, 0.0005

_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []
"""Removed at the end of the worker, which reads them until then."""

OFF = {"cache": False, "parallel": 1, "vectorized": False, "prefetch": 0}
"""What a switch is set to where it is off. Where it is on, an implementation does as it does by default."""


def workload(name: str, source: str, elements: int, *, off: str = "", quick: tuple[str, ...] = ()) -> Workload:
    """So many elements in batches of 64, with one of the switches off."""
    sizes = {"batch": elements, "rows": 64, "source": [*SOURCES].index(source)}
    switches = {switch: int(switch != off) for switch in OFF}
    scales = {"quick": quick, "standard": ("epoch", "feed"), "paper": ("epoch", "feed")}
    return Workload("input_pipelines", name, {**sizes, **switches}, scales, mixed=())


def preload() -> None:
    """Read what every worker needs, once, in the server."""
    digits_and_labels()
    words(2048)


@functools.cache
def digits_and_labels() -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 8, 8) and labels (N,), uint8."""
    from datasets import digits

    images, labels = digits.load()
    return images[..., 0], labels


@functools.cache
def words(count: int) -> list[np.ndarray]:
    """The letters of words, (length,) int32 each, in a random order."""
    from datasets import pronunciation

    rows = pronunciation.split(train=count, validation=1).train.graphemes
    return [row[row != pronunciation.PAD] for row in rows]


def step(subject: Any, parameters: Mapping[str, int], operation: str, seed: int) -> Step:
    """One epoch, with what is switched on."""
    off = {name: value for name, value in OFF.items() if not parameters[name]}
    missing = off.keys() - subject.Options.__dataclass_fields__.keys()
    if missing:
        raise NotProvided(f"there is no switch for {', '.join(sorted(missing))}")
    return _epoch(subject, parameters, operation, {"seed": seed, "vectorized": True, **off})


def without(subject: Any, parameters: Mapping[str, int], operation: str, seed: int) -> Step:
    """One epoch of the reference, with everything switched off."""
    return _epoch(subject, parameters, operation, {"seed": seed, **OFF})


def _epoch(subject: Any, parameters: Mapping[str, int], operation: str, chosen: Mapping[str, Any]) -> Step:
    count, rows = parameters["batch"], parameters["rows"]
    wanted = {"batch": rows, "shuffle": count, "drop_remainder": True, **chosen}
    known = subject.Options.__dataclass_fields__
    options = subject.Options(**{name: value for name, value in wanted.items() if name in known})
    pipeline = [*SOURCES.values()][parameters["source"]](subject, count, options)
    batches, steps = iter(pipeline.epochs()), pipeline.steps or count // rows

    def epoch() -> Any:
        for batch in itertools.islice(batches, steps):
            last = batch
            if operation == "feed":
                time.sleep(BUSY_S)
        _come_to_rest()
        return np.asarray(last[0])

    return Step(epoch)


def _come_to_rest() -> None:
    """Wait until no thread of this process works.

    What is made in advance would otherwise be made while others are timed, and be taken for nothing in the next round.
    A step that begins and ends with full buffers pays for as many batches as it takes.
    """
    before = -1.0
    while (used := time.process_time()) - before > REST_S / 2:
        before = used
        time.sleep(REST_S)


def _of_arrays(subject: Any, count: int, options: Any) -> Any:
    images, labels = digits_and_labels()
    arrays = images[:count].astype(np.float32), labels[:count].astype(np.int32)
    return subject.from_arrays(arrays, options, _enlarged, _augmented(subject))


def _of_files(subject: Any, count: int, options: Any) -> Any:
    """Records of a label and 64 pixels, a byte each."""
    images, labels = digits_and_labels()
    records = np.concatenate([labels[:, None], images.reshape(-1, 64)], axis=1)[:count]
    _FOLDERS.append(tempfile.TemporaryDirectory(prefix="touchstone-digits-"))
    paths = [Path(_FOLDERS[-1].name) / f"{number}.bin" for number in range(FILES)]
    for number, path in enumerate(paths):
        path.write_bytes(records[number::FILES].tobytes())
    return subject.from_files(paths, subject.fixed_records(65), options, _parsed, _augmented(subject))


def _of_words(subject: Any, count: int, options: Any) -> Any:
    return subject.bucketed_batches(words(count), BOUNDARIES, options)


SOURCES = {"arrays": _of_arrays, "files": _of_files, "words": _of_words}


def _enlarging() -> np.ndarray:
    """(64, 8): each row of an enlarged image as a mixture of two rows of the image."""
    places = np.linspace(0, 7, SIDE)[:, None]
    return np.maximum(0, 1 - np.abs(places - np.arange(8))).astype(np.float32) / 4  # twice, and there are 16 levels


ENLARGING = _enlarging()


def _enlarged(batch: Any) -> Any:
    """Images (B, 8, 8) float32 from 0 to 16 to (B, 64, 64, 1) from 0 to 1, by interpolation; NumPy or TensorFlow."""
    images, labels = batch
    return (ENLARGING @ images @ ENLARGING.T)[..., None], labels


def _parsed(records: Any) -> Any:
    """Records (B, 65) uint8 to images and labels."""
    pixels, labels = records[:, 1:], records[:, 0]
    if isinstance(records, np.ndarray):
        return _enlarged((pixels.astype(np.float32).reshape(-1, 8, 8), labels))
    import tensorflow as tf

    return _enlarged((tf.reshape(tf.cast(pixels, tf.float32), (-1, 8, 8)), labels))


def _augmented(subject: Any) -> Callable[[Any, Any], Any]:
    """Moves and noise, by the implementation's own function; a mirrored digit is no digit."""

    def augment(batch: Any, keys: Any) -> Any:
        images, labels = batch
        return subject.augment_images(images, keys, flip=False, shift=4, noise=0.1), labels

    return augment


WORKLOADS = (
    workload("arrays", "arrays", 512, quick=("epoch",)),
    workload("words", "words", 2048, quick=("epoch",)),
    workload("files", "files", 512),
    *(workload(f"arrays-no-{switch}", "arrays", 512, off=switch) for switch in OFF),
    *(workload(f"words-{count}", "words", count) for count in (4096, 16384)),  # with ``words``, a sweep over the data
)
