"""What must be true of the augmentation of an input pipeline, whose randomness belongs to each element."""

import itertools
from collections import Counter
from typing import Any

import ml_dtypes  # noqa: F401 - it teaches NumPy bfloat16
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suites.implementations import NotProvided
from suites.properties.checks import check
from suites.properties.input_pipelines_cases import FAST, IMAGES, SLOW, augmented, keys_of, optimisations, same
from suites.properties.numerics import assert_within
from suites.properties.oracles import input_pipelines as oracle
from suites.subjects import Subject

pytestmark = pytest.mark.structure


def test_keys_belong_to_elements(subject: Subject) -> None:
    """An element's key depends on seed, epoch and element: not on batch size, order, shard, threads, or vectorizing."""
    (expected,) = keys_of(subject, {"batch": 9}, first=1)
    check(len(set(expected.values())) == 9, f"nine elements share keys: {expected}")
    others: list[dict[str, Any]] = [{}, {"shuffle": 9}, FAST, {**SLOW, "parallel": 2}, {"shard": (1, 2)}]
    for way in others:
        given = {name: value for name, value in way.items() if name not in FAST} | optimisations(subject, way)
        given["batch"] = 4
        try:
            (found,) = keys_of(subject, given, first=1)
        except NotProvided:
            continue
        wrong = {number: key for number, key in found.items() if key != expected[number]}
        check(not wrong, f"keys {wrong} with {way}, expected { ({number: expected[number] for number in wrong}) }")


def test_keys_are_new_in_every_epoch(subject: Subject) -> None:
    """Every element has another key in each epoch, behind a cache too, and with another seed."""
    cached = optimisations(subject, {"cache": True})
    found = keys_of(subject, {"batch": 4, **cached}, count=3) + keys_of(subject, {"batch": 4, "seed": 1, **cached})
    for number in range(9):
        keys = [epoch[number] for epoch in found]
        check(len(set(keys)) == 4, f"element {number} has the keys {keys} in epochs 0 to 2 and with another seed")


@example(seed=0, epoch=0, indices=[0, 1])
@example(seed=2**40 + 7, epoch=3, indices=[2**33 + 1])
@given(
    seed=st.integers(0, 2**62),
    epoch=st.integers(0, 99),
    indices=st.lists(st.integers(0, 2**40), min_size=1, max_size=4),
)
def test_keys_are_those_of_the_generator(subject: Subject, seed: int, epoch: int, indices: list[int]) -> None:
    """`element_keys` are values of SplitMix64, bit for bit."""
    found = np.asarray(subject.element_keys(seed, epoch, np.array(indices)))
    same(found, oracle.keys(seed, epoch, indices), "keys")


SOME_KEYS = [7, 2**63 + 5, 3, 11]

KEYS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4)


@example(keys=[0, 1234567], count=5)
@given(keys=KEYS, count=st.integers(1, 9))
def test_numbers_are_those_of_the_generator(subject: Subject, keys: list[int], count: int) -> None:
    """`uniform` gives 24-bit numbers from the values of SplitMix64, bit for bit."""
    found = np.asarray(subject.uniform(np.array(keys, np.uint64), count))
    same(found, np.array([oracle.numbers(key, count) for key in keys], np.float32), "numbers")


@example(keys=SOME_KEYS, flip=True, shift=1, noise=0.1, dtype="float32")
@example(keys=SOME_KEYS, flip=True, shift=2, noise=0.1, dtype="float64")
@example(keys=SOME_KEYS, flip=False, shift=3, noise=0.0, dtype="bfloat16")
@given(
    keys=KEYS,
    flip=st.booleans(),
    shift=st.integers(0, 3),
    noise=st.sampled_from((0.0, 0.1)),
    dtype=st.sampled_from(("float16", "bfloat16", "float32", "float64")),
)
def test_augmentation_follows_the_numbers(
    subject: Subject, keys: list[int], flip: bool, shift: int, noise: float, dtype: str
) -> None:
    """Mirrored, moved and disturbed as the numbers of its key say: exact but for the noise's rounding."""
    if not subject.provides("uniform"):
        raise NotProvided("uniform is not provided: its augmentation draws other numbers")
    images = IMAGES[: len(keys)].astype(dtype)  # eighths, exact in each dtype
    found = augmented(subject, images, keys, flip=flip, shift=shift, noise=noise)
    truth = np.array(
        [
            oracle.augmented(image, key, flip, shift, noise)
            for image, key in zip(images.astype(float), keys, strict=True)
        ]
    )
    assert_within(found.astype(np.float64), truth, oracle.rounding(truth, noise, dtype), f"{dtype} images")


def test_images_keep_their_dtype(subject: Subject) -> None:
    """Images of any floating-point dtype come back in it, moved exactly."""
    for dtype in ("float16", "bfloat16", "float64"):
        images = IMAGES.astype(dtype)
        for noise in (0.0, 0.25):
            augmented(subject, images, SOME_KEYS, flip=True, shift=1, noise=noise)  # which checks it
        still = augmented(subject, images, SOME_KEYS, flip=True, shift=1, noise=0.0)
        expected = augmented(subject, IMAGES, SOME_KEYS, flip=True, shift=1, noise=0.0)
        same(still, expected.astype(dtype), f"{dtype} images")


@example(keys=SOME_KEYS)
@given(keys=KEYS)
def test_images_do_not_mix(subject: Subject, keys: list[int]) -> None:
    """What becomes of an image depends on itself and its key: not on the rest of the batch, nor on its place there."""
    asked = {"flip": True, "shift": 1, "noise": 0.25}
    images = IMAGES[: len(keys)]
    together = augmented(subject, images, keys, **asked)
    backwards = augmented(subject, images[::-1], keys[::-1], **asked)[::-1]
    same(backwards, together, "images of the batch in reverse")
    for place, key in enumerate(keys):
        alone = augmented(subject, images[place : place + 1], [key], **asked)
        same(alone[0], together[place], f"image {place} alone")


def test_every_move_occurs(subject: Subject) -> None:
    """Without noise an image is mirrored or not and moved by up to `shift` pixels, and all of that occurs."""
    image, count = IMAGES[0], 400  # each of 18 results is missing with a probability of (17/18)^400 = 1e-10
    allowed = {
        oracle.moved(each, down, right).tobytes(): (mirrored, down, right)
        for mirrored, each in ((False, image), (True, image[:, ::-1]))
        for down, right in itertools.product((-1, 0, 1), repeat=2)
    }
    found = augmented(subject, np.repeat(image[None], count, 0), list(range(count)), flip=True, shift=1, noise=0.0)
    seen = Counter(allowed.get(each.tobytes()) for each in found)
    check(None not in seen, f"{seen[None]} of {count} images are neither the image, moved or mirrored, nor both")
    check(len(seen) == 18, f"of 18 results, these did not occur: {sorted(set(allowed.values()) - set(seen))}")


def test_noise_stays_within_its_limit(subject: Subject) -> None:
    """Noise changes each value by another amount of at most `noise`, and by both signs."""
    keys = list(range(4))
    still = augmented(subject, IMAGES, keys, flip=True, shift=1, noise=0.0).astype(np.float64)
    found = augmented(subject, IMAGES, keys, flip=True, shift=1, noise=0.25).astype(np.float64)
    change = found - still  # exact: float64 holds all of both
    limit = 0.25 + oracle.rounding(still, 0.25, "float32")
    check((np.abs(change) <= limit).all(), f"changed by up to {np.abs(change).max()}, at most 0.25 was asked for")
    # 96 numbers from 1024 or more possible ones: half of them equal is beyond chance, and so is one sign for all.
    check(len(np.unique(change)) > 48, f"{change.size} values have {len(np.unique(change))} different changes")
    check(change.min() < 0 < change.max(), f"changes from {change.min()} to {change.max()}")
