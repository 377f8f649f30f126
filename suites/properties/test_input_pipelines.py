"""What must be true of input pipelines, whoever wrote them (reference/input_pipelines.py is the contract).

What is promised is who is in which batch, how often a function is called, and what is random: counts and orders, which
no precision changes. Time is for the benchmark; where work must go on at the same time, a property waits until it does.
Augmentation has a file of its own.
"""

import dataclasses
import pickle
import tempfile
import threading
from collections import Counter
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suites.implementations import NotProvided
from suites.properties.checks import check
from suites.properties.input_pipelines_cases import (
    FAST,
    FILES,
    PATIENCE_S,
    SLOW,
    Calls,
    Case,
    Counting,
    batches,
    by_epoch,
    cases,
    flat,
    from_files,
    in_numpy,
    numbers,
    optimisations,
    options,
    pipeline,
    rows,
    same,
    sequences,
    tagged,
    until_error,
    ways,
)
from suites.properties.oracles import input_pipelines as oracle
from suites.properties.refusals import refused
from suites.subjects import Subject

pytestmark = pytest.mark.structure


def doubled(batch: Any) -> Any:
    """Exact in float32, and the same for NumPy and for any tensor."""
    numbers, values = batch
    return numbers, values * 2 + 1


# Which batches


def test_batches_are_those_of_a_plain_loop(subject: Subject) -> None:
    """Unshuffled batches hold the elements in order, transformed, with a smaller last batch unless that is dropped."""
    for case in cases(subject):
        arrays = rows(case.size)
        expected = oracle.batches(range(case.size), case.batch, case.drop_remainder)
        found = batches(pipeline(subject, arrays, case.options, transform=doubled))
        check(len(found) == len(expected), f"{len(found)} batches of {case}, expected {len(expected)}")
        for place, (batch, who) in enumerate(zip(found, expected, strict=True)):
            same(batch, doubled(tuple(array[who] for array in arrays)), f"batch {place} of {case}")


def test_structure_is_kept(subject: Subject) -> None:
    """Batches have the structure of the data: one array, a tuple or a dictionary, each in its dtype."""
    array = np.arange(6, dtype=np.int32).reshape(3, 2)
    for arrays in (array, (array, array.astype(np.float64)), {"a": array.astype(np.uint8), "b": array}):
        expected = keras.tree.map_structure(lambda each: each[:2], arrays)
        found = batches(pipeline(subject, arrays, {"batch": 2}))[0]
        check(isinstance(found, dict) == isinstance(arrays, dict), f"a batch of {type(arrays)} is {type(found)}")
        same(found, expected, "first batch")


def test_optimisations_change_no_batch(subject: Subject) -> None:
    """Cached, parallel, vectorized, prefetched: every batch of two epochs is that of the pipeline without."""
    case = Case(size=7, batch=3, shuffle=7)

    def two_epochs(way: dict[str, Any]) -> list[Any]:
        made = pipeline(subject, rows(case.size), case.options, transform=doubled, augment=tagged, **way)
        return batches(made, 2)

    if not ways(subject):
        raise NotProvided("Options has no optimisation")
    naive = two_epochs(optimisations(subject, SLOW))
    for way in ways(subject):
        optimised = two_epochs(way)
        check(len(naive) == len(optimised), f"{len(optimised)} batches with {way}, {len(naive)} without")
        for place, (found, expected) in enumerate(zip(optimised, naive, strict=True)):
            same(found, expected, f"batch {place} with {way}")


def test_unordered_keeps_the_elements(subject: Subject) -> None:
    """Where parallel calls may overtake each other, an epoch still has each element once."""
    wanted = {"batch": 2, "parallel": 2, "deterministic": False}
    found = flat(numbers(pipeline(subject, rows(9), wanted, transform=doubled)))
    check(sorted(found) == list(range(9)), f"elements {sorted(found)}, expected each of 0 to 8 once")


def test_steps_are_known(subject: Subject) -> None:
    """`steps` is the number of batches in an epoch, and a dataset knows how many it has in all."""
    for case in (Case(7, 3), Case(7, 3, drop_remainder=True), Case(6, 3)):
        made = pipeline(subject, rows(case.size), case.options)
        count = len(batches(made))
        check(made.steps == count, f"steps = {made.steps}, an epoch of {case} has {count} batches")
        dataset = made.epochs(2)
        if hasattr(dataset, "cardinality"):
            check(int(dataset.cardinality()) == 2 * count, f"cardinality {dataset.cardinality()} of 2 epochs of {case}")


# Order


def test_every_element_once_per_epoch(subject: Subject) -> None:
    """However many elements the shuffle chooses among, each is there once in every epoch."""
    for case in (Case(size=7, batch=3, shuffle=7), Case(size=7, batch=3, shuffle=2), Case(size=4, batch=2, shuffle=50)):
        for epoch, found in enumerate(by_epoch(numbers(pipeline(subject, rows(case.size), case.options), 3), 3)):
            check(sorted(found) == list(range(case.size)), f"epoch {epoch} of {case} has the elements {found}")


def test_order_belongs_to_seed_and_epoch(subject: Subject) -> None:
    """The order of an epoch is fixed by seed and number: not by earlier epochs, nor by the program's global seed."""
    made = pipeline(subject, rows(9), {"batch": 4, "shuffle": 9, "seed": 5})
    keras.utils.set_random_seed(1)
    three = by_epoch(numbers(made, 3), 3)
    keras.utils.set_random_seed(2)
    again = pipeline(subject, rows(9), {"batch": 4, "shuffle": 9, "seed": 5})
    third = flat(numbers(again, 1, first=2))
    check(third == three[2], f"epoch 2 alone is {third}, after two others {three[2]}")
    other = flat(numbers(pipeline(subject, rows(9), {"batch": 4, "shuffle": 9, "seed": 6}), 1, first=2))
    check(third != other, f"seeds 5 and 6 both give {third}")


def test_order_is_new_in_every_epoch(subject: Subject) -> None:
    """No two of five epochs have the same order."""
    found = by_epoch(numbers(pipeline(subject, rows(12), {"batch": 4, "shuffle": 12}), 5), 5)
    check(len(set(map(tuple, found))) == 5, f"orders of five epochs: {found}")


def test_full_buffer_reaches_every_order(subject: Subject) -> None:
    """A shuffle that chooses among all of three elements gives each of their 6 orders, and so each pair as a batch."""
    wanted = {"batch": 2, "shuffle": 3, **optimisations(subject, SLOW)}
    # All orders being equally likely, one is missing from 90 epochs with a probability under 6 (5/6)^90 = 5e-7.
    found = by_epoch(numbers(pipeline(subject, rows(3), wanted), 90), 90)
    seen = Counter(map(tuple, found))
    check(len(seen) == 6, f"orders of 90 epochs: {dict(seen)}")


# Shards


def test_shards_part_the_elements(subject: Subject) -> None:
    """Each element is in one shard, whatever the workers' own seeds are, and shards differ by one element at most."""
    for size, count, shuffle in ((7, 3, 7), (4, 2, 0)):
        found = []
        for index in range(count):
            wanted = options(subject, batch=2, shuffle=shuffle, shard=(index, count), seed=index)
            found.append(flat(numbers(subject.from_arrays(rows(size), wanted))))
        check(sorted(flat(found)) == list(range(size)), f"shards {found} of the elements 0 to {size - 1}")
        sizes = sorted(map(len, found))
        check(sizes[-1] - sizes[0] <= 1, f"shards of {sizes} elements")


# How often, and when, a function is called


def test_cache_transforms_each_element_once(subject: Subject) -> None:
    """With a cache, `transform` sees every element once in four epochs, and all epochs get what it returned."""
    for vectorized in (True, False):
        calls = Calls()
        wanted = {"batch": 2, "cache": True, **optimisations(subject, {"vectorized": vectorized, "parallel": 2})}
        found = by_epoch(numbers(pipeline(subject, rows(5), wanted, transform=in_numpy(calls)), 4), 4)
        check(found == [list(range(5))] * 4, f"epochs {found}")
        seen = sorted(flat(calls.batches))
        check(seen == list(range(5)), f"elements transformed in four epochs of five elements: {seen}")


def test_without_a_cache_nothing_is_kept(subject: Subject) -> None:
    """Without a cache, `transform` sees every element in every epoch: what is switched off is off."""
    calls = Calls()
    numbers(pipeline(subject, rows(5), {"batch": 2, "cache": False}, transform=in_numpy(calls)), 3)
    seen = Counter(flat(calls.batches))
    check(seen == dict.fromkeys(range(5), 3), f"calls by element in three epochs: {dict(seen)}")


def test_vectorized_calls_see_batches(subject: Subject) -> None:
    """Vectorized, `transform` is called with batches of `batch` elements; else with one element at a time."""
    for vectorized, expected in ((True, [1, 3, 3]), (False, [1] * 7)):
        calls = Calls()
        numbers(pipeline(subject, rows(7), {"batch": 3, "vectorized": vectorized}, transform=in_numpy(calls)))
        sizes = sorted(map(len, calls.batches))
        check(sizes == expected, f"vectorized={vectorized}: calls with {sizes} elements, expected {expected}")


def test_parallel_calls_overlap(subject: Subject) -> None:
    """With parallel=2, two calls of `transform` are under way at the same time."""
    barrier = threading.Barrier(2, timeout=PATIENCE_S)

    def meet(batch: np.ndarray) -> np.ndarray:
        try:
            barrier.wait()  # until there is a second call, which a sequential pipeline would not make
        except threading.BrokenBarrierError:
            raise ValueError("no second call came while the first was under way") from None
        return batch

    _, message = until_error(pipeline(subject, rows(4), {"batch": 2, "parallel": 2}, transform=in_numpy(meet)))
    check(not message, "no second call of `transform` came while the first was under way")


def test_prefetch_works_ahead(subject: Subject) -> None:
    """With prefetch=1, the second batch is being made while its reader still has the first."""
    second = threading.Event()

    def note(batch: np.ndarray) -> np.ndarray:
        if 2 in batch.tolist():
            second.set()
        return batch

    wanted = {"batch": 2, "prefetch": 1, **optimisations(subject, {"cache": False, "parallel": 1})}
    iterator = iter(pipeline(subject, rows(6), wanted, transform=in_numpy(note)).epochs(1))
    next(iterator)
    check(second.wait(PATIENCE_S), "nothing was made in advance of the second batch")


def test_nothing_is_made_before_it_is_asked_for(subject: Subject) -> None:
    """Without prefetching and parallel calls, making a batch takes the elements of that batch and no more."""
    calls = Calls()
    wanted = {"batch": 2, "prefetch": 0, "parallel": 1, **optimisations(subject, {"cache": False})}
    iterator = iter(pipeline(subject, rows(8), wanted, transform=in_numpy(calls)).epochs(1))
    next(iterator)
    next(iterator)
    seen = sorted(flat(calls.batches))
    check(seen == [0, 1, 2, 3], f"elements transformed for two batches of two: {seen}")


def test_error_reaches_the_reader(subject: Subject) -> None:
    """An error that `transform` raises for an element arrives with its message, after the batches before it."""

    def refuse(batch: np.ndarray) -> np.ndarray:
        if 5 in batch.tolist():
            raise ValueError("element 5 is damaged")
        return batch

    for way in (SLOW, FAST):
        wanted = {"batch": 2, **optimisations(subject, {**way, "cache": False})}
        found, message = until_error(pipeline(subject, rows(8), wanted, transform=in_numpy(refuse)))
        check("element 5 is damaged" in message, f"the error that arrived says {message!r}; batches {found}")
        check(found == [[0, 1], [2, 3]], f"batches before the error: {found}, expected [[0, 1], [2, 3]]")


# Sequences


ZEROS = [[0, 3, 0], [2], [0, 0, 0, 0], [1, 0]]
"""Real zeros, which look like padding."""


@example(tokens=ZEROS, batch=3)
@given(tokens=sequences(), batch=st.integers(1, 4))
def test_mask_says_where_tokens_are(subject: Subject, tokens: list[list[int]], batch: int) -> None:
    """Sequences are padded with zeros to the longest of their batch; the mask is True at each token, even at a zero."""
    made = subject.padded_batches([np.array(each, np.int32) for each in tokens], options(subject, batch=batch))
    found, expected = batches(made), oracle.batches(tokens, batch)
    check(len(found) == len(expected) == made.steps, f"{len(found)} batches, steps {made.steps}, not {len(expected)}")
    for place, (each, rows_of) in enumerate(zip(found, expected, strict=True)):
        same(each, oracle.padded(rows_of), f"batch {place} (tokens, mask)")


LONG_AND_SHORT = [[1] * length for length in (1, 6, 2, 5, 1, 9, 2, 6, 1)]


@example(tokens=LONG_AND_SHORT, boundaries=[3, 6], batch=2)
@given(
    tokens=sequences(),
    boundaries=st.lists(st.integers(1, 6), min_size=1, max_size=2, unique=True).map(sorted),
    batch=st.integers(1, 3),
)
def test_buckets_hold_similar_lengths(
    subject: Subject, tokens: list[list[int]], boundaries: list[int], batch: int
) -> None:
    """Every sequence, the longest too, is in one batch; a batch has lengths of one bucket, padded to its longest."""
    # The last token says which sequence it is, so that each is found again.
    marked = [np.array([*each[:-1], 100 + number], np.int32) for number, each in enumerate(tokens)]
    made = subject.bucketed_batches(marked, boundaries, options(subject, batch=batch))
    found = batches(made)
    seen: list[list[int]] = []
    for place, (padded, mask) in enumerate(found):
        members = [row[kept].tolist() for row, kept in zip(padded, mask, strict=True)]
        same((padded, mask), oracle.padded(members), f"batch {place}, against its own sequences")
        buckets = {oracle.bucket_of(len(member), boundaries) for member in members}
        check(len(buckets) == 1, f"batch {place} has lengths {[*map(len, members)]} of several buckets of {boundaries}")
        seen += members
    check(sorted(seen) == sorted(each.tolist() for each in marked), f"sequences {seen}, expected each once")
    filled = Counter(oracle.bucket_of(len(each), boundaries) for each in tokens)
    fewest = sum(-(-count // batch) for count in filled.values())
    check(len(found) == made.steps == fewest, f"{len(found)} batches, steps {made.steps}, expected {fewest}")


# Files


def test_files_are_read_in_turn(subject: Subject) -> None:
    """Records come one from each file in turn, each once, and in this order also where files are read in parallel."""
    expected = oracle.interleaved(FILES)
    for wanted in ({}, optimisations(subject, {"parallel": 1}), optimisations(subject, {"parallel": 2})):
        with tempfile.TemporaryDirectory() as folder:
            found = from_files(subject, folder, **wanted)
        check(found == expected, f"records {found} with {wanted}, expected {expected}")


def test_shards_part_the_files(subject: Subject) -> None:
    """Each file is in one shard."""
    with tempfile.TemporaryDirectory() as folder:
        found = [from_files(subject, folder, shard=(index, 3)) for index in range(3)]
    check(sorted(flat(found)) == sorted(flat(FILES)), f"records of the shards: {found}")
    check(all(found), f"records of the shards: {found}")


# As a part of a program


def test_data_stays_as_it_was(subject: Subject) -> None:
    """The arrays are not changed, neither by the pipeline nor by who writes into a batch."""
    arrays = rows(4)

    def overwritten(batch: np.ndarray) -> np.ndarray:
        result = batch.copy()
        if batch.flags.writeable:
            batch[:] = -1
        return result

    made = pipeline(subject, arrays, {"batch": 2, **optimisations(subject, {"cache": False})})
    for batch in batches(made, 2):
        for array in batch:
            if array.flags.writeable:
                array[:] = -1
    same(arrays, rows(4), "arrays after writing into the batches")
    numbers(pipeline(subject, arrays, {"batch": 2}, transform=in_numpy(overwritten)))
    same(arrays, rows(4), "arrays after `transform` has written into its argument")


def test_fit_trains_on_it(subject: Subject) -> None:
    """`fit` takes the endless dataset, and has `steps` batches in each epoch."""
    inputs, targets = np.ones((6, 2), np.float32), np.ones((6, 1), np.float32)
    made = pipeline(subject, (inputs, targets), {"batch": 2, "shuffle": 6})
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    counting = Counting()
    model.fit(made.epochs(), shuffle=False, steps_per_epoch=made.steps, epochs=2, verbose=0, callbacks=[counting])
    check(counting.batches == [3, 3], f"batches by epoch: {counting.batches}, expected [3, 3]")


def test_options_are_a_value(subject: Subject) -> None:
    """Options are equal where their fields are, survive copying and pickling, and cannot be changed."""
    chosen = options(subject, batch=3, shuffle=4, seed=9)
    check(pickle.loads(pickle.dumps(chosen)) == chosen, "a pickled copy differs")
    check(subject.Options(**dataclasses.asdict(chosen)) == chosen, "options of the same fields differ")
    check(dataclasses.replace(chosen, seed=8) != chosen, "options of another seed are equal")
    try:
        chosen.batch = 5
    except dataclasses.FrozenInstanceError:
        return
    check(False, "an option was changed in place")


BAD_OPTIONS: tuple[dict[str, Any], ...] = (
    {"batch": 0},
    {"batch": True},
    {"seed": -1},
    {"seed": 2**63},
    {"seed": True},
    {"shuffle": -1},
    {"shuffle": True},  # a buffer of one element, which shuffles nothing
    {"shard": (2, 2)},
    {"shard": (-1, 2)},
    {"parallel": 0},
    {"prefetch": -2},
)


def test_bad_options_are_refused(subject: Subject) -> None:
    """Options out of range are answered with a ValueError that names them."""
    for bad in BAD_OPTIONS:
        usual = bad == {"shuffle": True}  # of all elements, where that is the only way to shuffle
        refused(f"{bad}", lambda bad=bad: options(subject, **bad), says=tuple(bad), usual=usual)


def test_misfits_are_refused(subject: Subject) -> None:
    """Data that cannot make a batch is answered with ValueError before anything is read."""
    misfits = {
        "arrays of different lengths": lambda: pipeline(subject, (np.zeros(3), np.zeros(4)), {"batch": 2}),
        "no elements": lambda: pipeline(subject, np.zeros((0, 2)), {"batch": 2}),
        "fewer elements than a batch, and the remainder dropped": lambda: pipeline(
            subject, np.zeros(3), {"batch": 4, "drop_remainder": True}
        ),
        "more shards than elements": lambda: pipeline(subject, np.zeros(1), {"batch": 1, "shard": (1, 2)}),
        "a sequence of rank 2": lambda: subject.padded_batches([np.zeros((2, 2), np.int32)], options(subject, batch=1)),
        "boundaries that do not ascend": lambda: subject.bucketed_batches(
            [np.zeros(2, np.int32)], [4, 2], options(subject, batch=1)
        ),
        "images of integers": lambda: subject.augment_images(np.zeros((1, 2, 2, 1), np.int32), np.zeros(1, np.uint64)),
        "an image without a batch": lambda: subject.augment_images(np.zeros((2, 2, 1)), np.zeros(1, np.uint64)),
    }
    for what, attempt in misfits.items():
        refused(what, attempt)
