"""What must be true of input pipelines where options meet: orders cut into batches, second calls, files and buckets."""

import gc
import itertools
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suites.implementations import NotProvided
from suites.properties.checks import check
from suites.properties.input_pipelines_cases import (
    FAST,
    SLOW,
    batches,
    by_epoch,
    flat,
    keys_of,
    numbers,
    optimisations,
    options,
    pipeline,
    rows,
    same,
    tagged,
    ways,
)
from suites.properties.oracles import input_pipelines as oracle
from suites.subjects import Subject

pytestmark = pytest.mark.structure

# Orders


def test_batches_are_cut_from_the_order(subject: Subject) -> None:
    """Whatever the batches' size, they are cut from the one order of the epoch; a remainder is dropped behind it."""
    for seed in (0, 2**63 - 1):
        asked = {"shuffle": 5, "seed": seed, **optimisations(subject, FAST)}
        order = by_epoch(numbers(pipeline(subject, rows(5), {"batch": 1, **asked}), 3), 3)
        for drop in (False, True):
            found = numbers(pipeline(subject, rows(5), {"batch": 2, "drop_remainder": drop, **asked}), 3)
            expected = flat([oracle.batches(epoch, 2, drop) for epoch in order])
            check(found == expected, f"batches {found}, expected {expected}, with drop_remainder={drop}, seed {seed}")


def test_epochs_and_seeds_have_orders_of_their_own(subject: Subject) -> None:
    """Epoch 1 of one seed is no epoch 0 of the next: all orders of three epochs of three seeds differ."""
    found: dict[tuple[int, int], tuple[int, ...]] = {}
    for seed in range(3):
        made = pipeline(subject, rows(9), {"batch": 9, "shuffle": 9, "seed": seed})
        found |= {(seed, epoch): tuple(order) for epoch, order in enumerate(by_epoch(numbers(made, 3), 3))}
    same_orders = [(one, other) for one, other in itertools.combinations(found, 2) if found[one] == found[other]]
    check(not same_orders, f"these (seed, epoch) share an order: {same_orders}")


def test_shuffle_chooses_among_its_buffer(subject: Subject) -> None:
    """The next element is one of the `shuffle` that come next, each with the same probability, and may stay behind."""
    # Of 4 elements a buffer of 2 makes 8 orders, all equally likely: two choices, three times.
    possible = {(a, b, c, d) for a, b, c, d in itertools.permutations(range(4)) if a < 2 and b < 3}
    made = pipeline(subject, rows(4), {"batch": 4, "shuffle": 2})
    for count in (10, 160):  # the first few are enough for one that chooses among all
        seen = Counter(map(tuple, by_epoch(numbers(made, count), count)))
        check(set(seen) <= possible, f"orders that a buffer of 2 cannot make: {sorted(set(seen) - possible)}")
    apart = sum((seen[order] - 20) ** 2 / 20 for order in possible)
    check(apart < 41, f"chi-squared {apart:.1f} of 8 orders, under 41 but for one seed in a million: {dict(seen)}")


def test_a_call_of_epochs_begins_where_it_is_told(subject: Subject) -> None:
    """Each call of `epochs` begins at `first`, whether it is the second one, or without an end."""
    made = pipeline(subject, rows(5), {"batch": 2, "shuffle": 5, **optimisations(subject, FAST)}, transform=tuple)
    three, again = numbers(made, 3), numbers(made, 3)
    check(again == three, f"the second call of epochs(3) gives {again}, the first gave {three}")
    endless = [np.asarray(batch[0]).tolist() for batch in itertools.islice(made.epochs(None, 2), 3)]
    check(endless == three[6:], f"epochs(None, first=2) begins with {endless}, the third epoch is {three[6:]}")


def test_a_broken_off_epoch_keeps_nothing(subject: Subject) -> None:
    """After an epoch of which one batch was read, the next ones are whole, with a cache too."""
    for way in (FAST, {**SLOW, "cache": True}):
        asked = {"batch": 2, **optimisations(subject, way)}
        made = pipeline(subject, rows(5), asked, transform=lambda batch: (batch[0], batch[1] * 2))
        iterator = iter(made.epochs(1))
        next(iterator)
        del iterator
        gc.collect()
        found = by_epoch(numbers(made, 2), 2)
        check(found == [list(range(5))] * 2, f"epochs after one that was broken off: {found} with {asked}")


def test_all_options_at_once(subject: Subject) -> None:
    """With a shard, a shuffle, a seed, a dropped remainder, and both functions, each batch is what it should be."""
    arrays = rows(10)

    def scaled(batch: Any) -> Any:
        return batch[0], batch[1] * 2

    for way in ways(subject) or [{}]:
        seen = []
        for index in range(2):
            asked = {"batch": 2, "shuffle": 4, "seed": 3, "shard": (index, 2), "drop_remainder": True, **way}
            made = pipeline(subject, arrays, asked, transform=scaled, augment=tagged)
            found = batches(made, 2, first=2)
            check(made.steps == 2 and len(found) == 4, f"{len(found)} batches of 2 epochs, steps {made.steps}, not 2")
            for place, (who, values, keys) in enumerate(found):
                same((who, values), scaled(tuple(array[who] for array in arrays)), f"batch {place} with {asked}")
                if subject.provides("element_keys"):
                    same(keys, oracle.keys(3, 2 + place // 2, who.tolist()), f"keys of batch {place} with {asked}")
            seen.append([number for batch in found[:2] for number in batch[0].tolist()])
        check(len(set(flat(seen))) == 8, f"an epoch of two shards has the elements {seen}, expected 8 different ones")


# Keys


def test_keys_count_the_epochs_of_training(subject: Subject) -> None:
    """After a resume the keys go on: those of epoch 2 are the same whether two epochs were before it or not."""
    asked = {"batch": 4, **optimisations(subject, FAST)}
    third, (alone,) = keys_of(subject, asked, count=3)[2], keys_of(subject, asked, first=2)
    check(third == alone, f"keys of epoch 2: {alone}, after two others {third}")


# Sequences

TOKENS = [[1], [2, 2], [3], [4, 4], [5] * 4, [6] * 5, [7] * 4, [8] * 6]
"""Four short sequences and four long ones, which say who they are."""


def sequences_of(subject: Subject, boundaries: Sequence[int] | None, tokens: list[list[int]], **asked: Any) -> Any:
    """Padded batches, or bucketed ones where there are boundaries."""
    arrays = [np.array(each, np.int32) for each in tokens]
    if boundaries is None:
        return subject.padded_batches(arrays, options(subject, **asked))
    return subject.bucketed_batches(arrays, boundaries, options(subject, **asked))


def members(batch: Any) -> list[int]:
    """Who is in a batch of sequences."""
    return [int(row[0]) for row in batch[0]]


def kinds(subject: Subject) -> list[list[int] | None]:
    """Boundaries of what there is: padded batches, which have none, and bucketed ones."""
    return [None, *([[3]] if subject.provides("bucketed_batches") else [])]


def test_sequences_are_sharded(subject: Subject) -> None:
    """Each sequence is in one shard, and `steps` counts the batches of the shard."""
    for boundaries in kinds(subject):
        found, kept = [], 6 if boundaries is None else 8
        for index in range(2):
            asked = {"batch": 3, "shard": (index, 2), "drop_remainder": boundaries is None}
            made = sequences_of(subject, boundaries, TOKENS, **asked)
            shard = batches(made)
            check(len(shard) == made.steps, f"{len(shard)} batches in shard {index}, steps {made.steps}")
            found.append(flat(map(members, shard)))
        check(len(flat(found)) == len(set(flat(found))) == kept, f"shards {found} of the sequences 1 to 8")


def test_every_way_pads_alike(subject: Subject) -> None:
    """Tokens and masks do not depend on the optimisations, with a shuffle and over two epochs."""
    asked = {"batch": 2, "shuffle": 8, "seed": 1}
    if not ways(subject):
        raise NotProvided("Options has no optimisation")
    for boundaries in kinds(subject):
        naive = batches(sequences_of(subject, boundaries, TOKENS, **asked, **optimisations(subject, SLOW)), 2)
        for way in ways(subject):
            found = batches(sequences_of(subject, boundaries, TOKENS, **asked, **way), 2)
            check(len(found) == len(naive), f"{len(found)} batches with {way}, {len(naive)} without")
            for place, (one, other) in enumerate(zip(found, naive, strict=True)):
                same(one, other, f"batch {place} (tokens, mask) with {way}")
                expected = oracle.padded([TOKENS[number - 1] for number in members(other)])
                same(one, expected, f"batch {place} (tokens, mask) with {way}, against its own sequences")


def test_buckets_are_shuffled_twice(subject: Subject) -> None:
    """In a bucket all pairs come together, batches of all buckets are mixed, and no two epochs are alike."""
    made = sequences_of(subject, [3], TOKENS, batch=2, shuffle=8)
    # A pairing of four is missing from 40 epochs with a probability under 3 (2/3)^40 = 3e-7.
    found = [tuple(members(batch)) for batch in batches(made, 40)]
    epochs = [found[start : start + 4] for start in range(0, len(found), 4)]
    for epoch in epochs:
        check(sorted(flat(epoch)) == list(range(1, 9)), f"an epoch has the sequences {epoch}")
    pairs = Counter(frozenset(pair) for pair in found)
    check(len(pairs) == 12, f"{len(pairs)} different pairs in 40 epochs, expected 12, 6 in each bucket: {dict(pairs)}")
    places = Counter(place for epoch in epochs for place, pair in enumerate(epoch) if min(pair) < 5)
    check(all(5 <= places[place] <= 35 for place in range(4)), f"places of the short batches in 40 epochs: {places}")
    check(len(set(map(tuple, epochs))) > 30, "epochs of buckets repeat each other")


def test_empty_sequences_are_rows(subject: Subject) -> None:
    """A sequence without a token is a row of its batch, whose mask is False throughout; also alone in a batch."""
    for dtype in ("int32", "int64", "float32"):
        tokens: list[list[int]] = [[1, 0], [], [2], [], []]
        arrays = [np.array(each, dtype) for each in tokens]
        found = batches(subject.padded_batches(arrays, options(subject, batch=3)))
        check(len(found) == 2, f"{len(found)} batches, expected 2")
        for place, (batch, who) in enumerate(zip(found, oracle.batches(tokens, 3), strict=True)):
            padded, mask = oracle.padded(who)
            same(batch, (padded.astype(dtype), mask.astype(bool)), f"batch {place} (tokens, mask)")


# Files


def written(folder: str, files: list[list[bytes]]) -> list[Path]:
    """Files of these records."""
    paths = [Path(folder) / f"{number:02}.bin" for number in range(len(files))]
    for path, records in zip(paths, files, strict=True):
        path.write_bytes(b"".join(records))
    return paths


def read(made: Any, count: int = 1) -> list[tuple[bytes, int]]:
    """Records and their keys."""
    found = [(np.asarray(records), np.asarray(keys).tolist()) for records, keys in made.epochs(count)]
    return [(record.tobytes(), key) for records, keys in found for record, key in zip(records, keys, strict=True)]


def paired(batch: Any, keys: Any) -> Any:
    """An augmentation that shows the keys."""
    return batch, keys


def test_sixteen_files_take_turns(subject: Subject) -> None:
    """Of twenty files sixteen take turns, and the others come when those have ended."""
    files = [[bytes([number, 0]), bytes([number, 1])] for number in range(20)]
    expected = oracle.interleaved(files[:16]) + oracle.interleaved(files[16:])
    with tempfile.TemporaryDirectory() as folder:
        made = subject.from_files(written(folder, files), subject.fixed_records(2), options(subject, batch=7))
        found = [record.tobytes() for batch in batches(made) for record in batch]
    check(found == expected, f"records of 20 files {[tuple(each) for each in found]}")


def test_records_are_elements(subject: Subject) -> None:
    """Records are shuffled anew in every epoch, each once; the key of one is its own, whatever the shard or the way."""
    files = [[bytes([number, place]) for place in range(3)] for number in range(4)]
    known: dict[bytes, list[int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = written(folder, files)
        for shard, way in (((0, 1), FAST), ((0, 1), SLOW), ((0, 2), FAST), ((1, 2), SLOW)):
            asked = options(subject, batch=5, shuffle=12, shard=shard, **optimisations(subject, way))
            found = read(subject.from_files(paths, subject.fixed_records(2), asked, augment=paired), 2)
            own, size = sorted(flat(files[shard[0] :: shard[1]])), len(found) // 2
            epochs = [found[:size], found[size:]]
            for epoch in epochs:
                check(sorted(record for record, _ in epoch) == own, f"an epoch of shard {shard} has {epoch}")
            orders = [[record for record, _ in epoch] for epoch in epochs]
            check(orders[0] != orders[1], f"two epochs of shard {shard} have the order {orders[0]}")
            keys: dict[bytes, list[int]] = {record: [] for record in own}
            for record, key in found:
                keys[record].append(key)
            check(len(set(flat([*keys.values()]))) == 2 * len(own), f"records or epochs share keys: {keys}")
            wrong = {record: each for record, each in keys.items() if known.setdefault(record, each) != each}
            check(not wrong, f"keys {wrong} in shard {shard}, expected { {name: known[name] for name in wrong} }")
