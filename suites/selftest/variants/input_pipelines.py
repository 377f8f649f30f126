"""Wrong variants of input pipelines: stages in the wrong order, switches that do nothing, and randomness that leaks."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

import reference._augmentation as augmentation
import reference.input_pipelines as reference
from suites.selftest.variants import Variant, edited, override

MAKERS = ("from_arrays", "from_files", "padded_batches", "bucketed_batches")


def made(change: Callable[[reference.Pipeline], Any], *names: str) -> SimpleNamespace:
    """The reference, whose pipelines are changed after they are made."""

    def changed(make: Callable[..., reference.Pipeline]) -> Callable[..., Any]:
        @functools.wraps(make)
        def maker(*arguments: Any, **options: Any) -> Any:
            return change(make(*arguments, **options))

        return maker

    return override(reference, **{name: changed(getattr(reference, name)) for name in names or MAKERS})


def asked(change: Callable[[reference.Options], reference.Options]) -> SimpleNamespace:
    """The reference, asked for other options than were given."""

    def changed(make: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(make)
        def maker(*arguments: Any, **functions: Any) -> Any:
            return make(
                *[change(each) if isinstance(each, reference.Options) else each for each in arguments], **functions
            )

        return maker

    return override(reference, **{name: changed(getattr(reference, name)) for name in MAKERS})


def of(kind: type[reference.Pipeline]) -> SimpleNamespace:
    """The reference with pipelines of another class."""
    return made(lambda pipeline: kind(**vars(pipeline)))


def from_arrays(function: Callable[..., Any]) -> SimpleNamespace:
    """The reference with arguments of `from_arrays` changed: arrays, options, transform and augment to the same."""

    def changed(arrays: Any, options: Any, transform: Any = None, augment: Any = None) -> Any:
        return reference.from_arrays(*function(arrays, options, transform, augment))

    return override(reference, from_arrays=changed)


def regrouped(pipeline: reference.Pipeline, change: Callable[[Any], Any], **more: Any) -> reference.Pipeline:
    """A pipeline with datasets of elements that are changed."""
    return replace(pipeline, groups=tuple(map(change, pipeline.groups)), **more)


def shuffled(buffer: int, seed: Any) -> Callable[[Any], Any]:
    return lambda dataset: dataset.shuffle(buffer, seed, reshuffle_each_iteration=False)


# Stages in another order


class OrderCached(reference.Pipeline):
    def _epoch(self, number: Any) -> Any:
        if not self.options.shuffle:
            return super()._epoch(number)
        fixed = regrouped(self, shuffled(self.options.shuffle, 7), options=replace(self.options, shuffle=0))
        return reference.Pipeline._epoch(reference.Pipeline(**vars(fixed)), number)


class BatchesShuffled(reference.Pipeline):
    def _epoch(self, number: Any) -> Any:
        batches = reference.Pipeline._epoch(replace(self, options=replace(self.options, shuffle=0)), number)
        seed = tf.cast(number, tf.int64) + self.options.seed
        return shuffled(10, seed)(batches) if self.options.shuffle else batches


class Reordering(reference.Pipeline):
    def epochs(self, count: int | None = None, first: int = 0) -> Any:
        batches = super().epochs(count, first)
        return shuffled(3, 1)(batches) if self.options.prefetch else batches


class Eager(reference.Pipeline):
    def epochs(self, count: int | None = None, first: int = 0) -> Any:
        return list(super().epochs(count, first))


class GloballySeeded(reference.Pipeline):
    def _epoch(self, number: Any) -> Any:
        by_global_seed = shuffled(self.options.shuffle or 1, number + self.options.seed)
        changed = regrouped(self, by_global_seed, options=replace(self.options, shuffle=0))
        return reference.Pipeline._epoch(changed, number)


def sharded_late(arrays: Any, options: Any, transform: Any = None, augment: Any = None) -> Any:
    """Each worker shuffles all with its own seed, and takes its share of that."""
    whole = reference.from_arrays(arrays, replace(options, shard=(0, 1)), transform, augment)
    seed, (index, count) = options.seed, options.shard
    buffer = options.shuffle or 1
    return regrouped(
        whole,
        lambda elements: elements.shuffle(buffer, seed).shard(count, index),
        steps=None,
        options=replace(options, shuffle=0),
    )


class StreamCached(reference.Pipeline):
    def epochs(self, count: int | None = None, first: int = 0) -> Any:
        return super().epochs(count, first).cache()


def cached_late(arrays: Any, options: Any, transform: Any = None, augment: Any = None) -> Any:
    """The cache holds all that has been repeated."""
    pipeline = reference.from_arrays(arrays, replace(options, cache=False), transform, augment)
    return StreamCached(**vars(pipeline)) if options.cache else pipeline


def augmented_early(arrays: Any, options: Any, transform: Any = None, augment: Any = None) -> Any:
    """The random function runs once, in front of the cache."""
    pipeline = reference.from_arrays(arrays, options, transform)
    if augment is None:
        return pipeline

    def once(index: Any, element: Any) -> Any:
        batch = tf.nest.map_structure(lambda each: each[None], element)
        changed = augment(batch, reference.element_keys(options.seed, 0, index[None]))
        return index, tf.nest.map_structure(lambda each: each[0], changed)

    return regrouped(pipeline, lambda elements: elements.map(once).cache())


# What functions are called with


def keys_changed(change: Callable[[Any], Any]) -> SimpleNamespace:
    def function(arrays: Any, options: Any, transform: Any, augment: Any) -> Any:
        return arrays, options, transform, augment and (lambda batch, keys: augment(batch, change(keys)))

    return from_arrays(function)


def by_position(keys: Any) -> Any:
    return reference.element_keys(0, 0, tf.range(tf.shape(keys)[0]))


def from_a_generator(keys: Any) -> Any:
    return tf.random.uniform(tf.shape(keys), maxval=2**62, dtype=tf.int64)


def scaled_by_the_batch(arrays: Any, options: Any, transform: Any, augment: Any) -> Any:
    def scaled(batch: Any) -> Any:
        first, *others = transform(batch)
        return first, *[other / tf.reduce_max(tf.abs(other)) for other in others]

    return arrays, options, transform and (scaled if options.vectorized else transform), augment


def shuffled_in_place(arrays: Any, options: Any, transform: Any, augment: Any) -> Any:
    for array in tf.nest.flatten(arrays):
        array[:] = array[::-1].copy()
    return arrays, options, transform, augment


def cut_to_the_shortest(arrays: Any, options: Any, transform: Any, augment: Any) -> Any:
    shortest = min(len(array) for array in tf.nest.flatten(arrays))
    return tf.nest.map_structure(lambda array: array[:shortest], arrays), options, transform, augment


def in_float32(arrays: Any, options: Any, transform: Any, augment: Any) -> Any:
    return tf.nest.map_structure(lambda array: np.asarray(array, np.float32), arrays), options, transform, augment


# Augmentation


def one_number_a_value(keys: Any, count: int) -> Any:
    bits = reference.fold_in(tf.expand_dims(keys, 1), tf.range(count))
    return tf.cast(tf.bitwise.right_shift(bits, np.uint64(40)), tf.float32) * 2.0**-24


def correlated_keys(seed: Any, epoch: Any, indices: Any) -> Any:
    return reference.fold_in(0, tf.cast(indices, tf.int64) + seed + epoch)


def upside_down(images: Any, keys: Any, flip: bool = True, shift: int = 0, noise: float = 0.0) -> Any:
    turned = tf.transpose(tf.convert_to_tensor(images), (0, 2, 1, 3))
    return tf.transpose(reference.augment_images(turned, keys, flip, shift, noise), (0, 2, 1, 3))


def downwards_only(images: Any, keys: Any, flip: bool = True, shift: int = 0, noise: float = 0.0) -> Any:
    """Moves of 0 to 2 shift pixels."""
    moved = reference.augment_images(images, keys, flip, shift, noise)
    return tf.pad(moved, ((0, 0), (shift, 0), (shift, 0), (0, 0)))[:, : images.shape[1], : images.shape[2]]


def stretched_to_the_batch(images: Any, keys: Any, flip: bool = True, shift: int = 0, noise: float = 0.0) -> Any:
    augmented = reference.augment_images(images, keys, flip, shift, noise)
    return augmented / tf.reduce_max(augmented)


def noise_from_the_batch(images: Any, keys: Any, flip: bool = True, shift: int = 0, noise: float = 0.0) -> Any:
    numbers = tf.random.stateless_normal(tf.shape(images), tf.bitcast(keys[:1], tf.int32)[0], dtype=images.dtype)
    return reference.augment_images(images, keys, flip, shift) + noise * numbers


# Sequences and files


def masked_by_value(pipeline: reference.Pipeline) -> Any:
    def finish(*batch: Any) -> Any:
        tokens, _ = pipeline.finish(*batch)
        return tokens, tf.not_equal(tokens, 0)

    return replace(pipeline, finish=finish)


def bucketed_without_the_longest(sequences: Any, boundaries: Any, options: Any = None) -> Any:
    return reference.bucketed_batches([row for row in sequences if len(row) < max(boundaries)], boundaries, options)


def in_one_bucket(sequences: Any, boundaries: Any, options: Any = None) -> Any:  # noqa: ARG001 - the defect
    return reference.bucketed_batches(sequences, (), options)


def file_after_file(paths: Any, read: Any, options: Any, transform: Any = None, augment: Any = None) -> Any:
    """All files in a row, for every worker."""

    def read_all(_path: Any) -> Any:
        return tf.data.Dataset.from_tensor_slices([*map(str, paths)]).flat_map(read)

    return reference.from_files(paths[:1], read_all, replace(options, shard=(0, 1)), transform, augment)


# Options and the rest


class Unchecked(reference.Options):
    def __post_init__(self) -> None:
        pass


Mutable = dataclasses.make_dataclass("Mutable", [(f.name, f.type, f) for f in dataclasses.fields(reference.Options)])
Mutable.__module__ = __name__


def without_errors(pipeline: reference.Pipeline) -> Any:
    return regrouped(pipeline, lambda elements: elements.ignore_errors(), steps=None)


def unordered_and_short(pipeline: reference.Pipeline) -> Any:
    if pipeline.options.deterministic:
        return pipeline
    return regrouped(pipeline, lambda elements: elements.skip(1), steps=None)


def swapped_in_parallel(pipeline: reference.Pipeline) -> Any:
    return pipeline if pipeline.options.parallel == 1 else regrouped(pipeline, shuffled(2, 1))


LOOP, SAME = "batches_are_those_of_a_plain_loop", "optimisations_change_no_batch"
OWN_KEYS, NEW_KEYS = "keys_belong_to_elements", "keys_are_new_in_every_epoch"
NUMBERS, MOVES = "augmentation_follows_the_numbers", "every_move_occurs"
ONCE, FITS = "every_element_once_per_epoch", "fit_trains_on_it"
BUCKETS, STEPS = "buckets_hold_similar_lengths", "steps_are_known"

TABLE: tuple[tuple[str, str, tuple[str, ...], Any], ...] = (
    ("prefetch_reorders", "batches overtake each other in the prefetch buffer", (LOOP, SAME), of(Reordering)),
    (
        "augmented_before_the_cache",
        "the augmentation is frozen by the cache",
        (NEW_KEYS,),
        override(reference, from_arrays=augmented_early),
    ),
    (
        "shuffled_before_the_cache",
        "every epoch has the same order",
        ("order_is_new_in_every_epoch", "full_buffer_reaches_every_order", "order_belongs_to_seed_and_epoch"),
        of(OrderCached),
    ),
    (
        "batches_shuffled",
        "batches are shuffled, not elements: who is in a batch stays together",
        ("full_buffer_reaches_every_order",),
        of(BatchesShuffled),
    ),
    (
        "sharded_after_the_shuffle",
        "workers cut shares of different orders: some elements twice, some never",
        ("shards_part_the_elements",),
        override(reference, from_arrays=sharded_late),
    ),
    (
        "tail_dropped",
        "a smaller last batch is dropped unasked",
        (LOOP, ONCE, "unordered_keeps_the_elements"),
        asked(lambda options: replace(options, drop_remainder=True)),
    ),
    (
        "cached_behind_the_repeat",
        "the cache holds the stream of all epochs",
        ("cache_transforms_each_element_once",),
        override(reference, from_arrays=cached_late),
    ),
    (
        "mask_by_value",
        "a token of zero is masked",
        ("mask_says_where_tokens_are",),
        made(masked_by_value),
    ),
    (
        "longest_dropped",
        "sequences beyond the last boundary are dropped",
        (BUCKETS,),
        override(reference, bucketed_batches=bucketed_without_the_longest),
    ),
    ("one_bucket", "the boundaries are ignored", (BUCKETS,), override(reference, bucketed_batches=in_one_bucket)),
    (
        "scaled_by_the_batch",
        "vectorized, values are divided by the largest of their batch",
        (LOOP, SAME),
        from_arrays(scaled_by_the_batch),
    ),
    (
        "unordered_in_parallel",
        "parallel calls overtake each other although order is promised",
        (SAME, "files_are_read_in_turn"),
        made(swapped_in_parallel),
    ),
    (
        "unordered_and_short",
        "an element is lost",
        ("unordered_keeps_the_elements",),
        made(unordered_and_short),
    ),
    ("keys_by_position", "keys count the places in a batch", (OWN_KEYS, NEW_KEYS), keys_changed(by_position)),
    ("keys_from_a_generator", "keys come from a stateful generator", (OWN_KEYS, SAME), keys_changed(from_a_generator)),
    (
        "correlated_keys",
        "seed, epoch and index are added: element 1 in epoch 0 has the key of element 0 in epoch 1",
        ("keys_are_those_of_the_generator",),
        override(reference, element_keys=correlated_keys),
    ),
    (
        "one_number_a_value",
        "a value of the generator gives one number",
        ("numbers_are_those_of_the_generator",),
        override(reference, uniform=one_number_a_value),
    ),
    (
        "global_seed",
        "the order depends on the program's global seed",
        ("order_belongs_to_seed_and_epoch",),
        of(GloballySeeded),
    ),
    (
        "upside_down",
        "mirrored upside down",
        (NUMBERS, MOVES),
        override(reference, augment_images=upside_down),
    ),
    ("downwards_only", "moves are not centred", (NUMBERS, MOVES), override(reference, augment_images=downwards_only)),
    (
        "stretched_to_the_batch",
        "images are divided by the largest value of their batch",
        ("images_do_not_mix",),
        override(reference, augment_images=stretched_to_the_batch),
    ),
    (
        "normal_noise",
        "noise has no bound, and that of a batch comes from its first key",
        ("noise_stays_within_its_limit", "images_do_not_mix"),
        override(reference, augment_images=noise_from_the_batch),
    ),
    (
        "file_after_file",
        "files are read one after the other, by every worker",
        ("files_are_read_in_turn", "shards_part_the_files"),
        override(reference, from_files=file_after_file),
    ),
    (
        "cache_ignored",
        "the switch of the cache does nothing",
        ("cache_transforms_each_element_once",),
        asked(lambda options: replace(options, cache=False)),
    ),
    (
        "always_cached",
        "there is a cache even where it is switched off",
        ("without_a_cache_nothing_is_kept",),
        asked(lambda options: replace(options, cache=True)),
    ),
    (
        "never_vectorized",
        "functions see batches of one",
        ("vectorized_calls_see_batches",),
        asked(lambda options: replace(options, vectorized=False)),
    ),
    (
        "sequential",
        "the number of parallel calls is ignored",
        ("parallel_calls_overlap",),
        asked(lambda options: replace(options, parallel=1)),
    ),
    (
        "never_prefetched",
        "the prefetch is ignored",
        ("prefetch_works_ahead",),
        asked(lambda options: replace(options, prefetch=0)),
    ),
    (
        "eager",
        "all batches are made before the first is handed out",
        ("nothing_is_made_before_it_is_asked_for", "error_reaches_the_reader"),
        of(Eager),
    ),
    ("errors_swallowed", "damaged elements are left out", ("error_reaches_the_reader",), made(without_errors)),
    (
        "steps_short",
        "the last, smaller batch is not counted",
        (STEPS, FITS),
        made(lambda pipeline: SimpleNamespace(epochs=pipeline.epochs, steps=pipeline.steps and pipeline.steps - 1)),
    ),
    ("in_float32", "all arrays become float32", ("structure_is_kept",), from_arrays(in_float32)),
    (
        "shuffled_in_place",
        "the caller's arrays change",
        ("data_stays_as_it_was",),
        from_arrays(shuffled_in_place),
    ),
    (
        "cut_to_the_shortest",
        "arrays of different lengths are cut",
        ("misfits_are_refused",),
        from_arrays(cut_to_the_shortest),
    ),
    (
        "options_unchecked",
        "nothing is refused",
        ("bad_options_are_refused",),
        override(reference, Options=Unchecked),
    ),
    ("options_mutable", "options can be changed", ("options_are_a_value",), override(reference, Options=Mutable)),
)

CUT, BUCKETED, BEGINS = (
    "batches_are_cut_from_the_order",
    "buckets_are_shuffled_twice",
    "a_call_of_epochs_begins_where_it_is_told",
)
RECORDS, WAYS = "records_are_elements", "every_way_pads_alike"

LINES: tuple[tuple[str, str, tuple[str, ...], str, str], ...] = (
    (
        "remainder_dropped_first",
        "the remainder is dropped before the shuffle: the same elements are left out in every epoch",
        (CUT,),
        "            groups = [self.stack(each) for each in mixed]",
        (
            "            kept = self.options.batch * (self.steps or 0) if self.options.drop_remainder else -1\n"
            "            groups = [self.stack(shuffled(each.take(kept), 0)) for each in self.groups]"
        ),
    ),
    (
        "only_batches_mixed",
        "the elements of a bucket are not shuffled: who shares a batch is fixed",
        (BUCKETED,),
        "        mixed = [shuffled(group, place) for place, group in enumerate(self.groups)]",
        "        mixed = [shuffled(g, p) if len(self.groups) == 1 else g for p, g in enumerate(self.groups)]",
    ),
    (
        "buckets_in_a_row",
        "batches of buckets come one bucket after the other, in spite of the shuffle",
        (BUCKETED,),
        "            batches = shuffled(batches, len(groups))",
        "            pass",
    ),
    (
        "buckets_shuffled_alike",
        "all buckets, and their batches, are shuffled by one seed",
        (BUCKETED,),
        "seed = tf.bitcast(fold_in(state, place), tf.int64)",
        "seed = tf.bitcast(state, tf.int64)",
    ),
    (
        "sequences_in_every_shard",
        "the shard is ignored for sequences",
        ("sequences_are_sharded",),
        "np.array(_shard(len(rows), options)), np.array([len(row) for row in rows])",
        "np.arange(len(rows)), np.array([len(row) for row in rows])",
    ),
    (
        "empty_left_out",
        "sequences without a token are left out",
        ("empty_sequences_are_rows",),
        "rows = [np.asarray(sequence) for sequence in sequences]",
        "rows = [np.asarray(sequence) for sequence in sequences if len(sequence)]",
    ),
    (
        "seed_and_epoch_added",
        "the order's seed is seed + epoch: epoch 1 of seed 0 is epoch 0 of seed 1",
        ("epochs_and_seeds_have_orders_of_their_own",),
        "state = fold_in(fold_in(0, self.options.seed), number)",
        "state = fold_in(0, number + self.options.seed)",
    ),
    (
        "endless_from_zero",
        "an endless dataset begins at epoch 0",
        (BEGINS,),
        "tf.data.Dataset.counter(first) if",
        "tf.data.Dataset.counter(0) if",
    ),
    (
        "records_share_keys",
        "records of all files have the same indices, and so the same keys",
        (RECORDS,),
        "start = number * 2**32",
        "start = number * 0",
    ),
    (
        "keys_by_the_shard",
        "the keys of records depend on the shard",
        (RECORDS,),
        "from_tensor_slices((np.array(numbers), [str",
        "from_tensor_slices((np.arange(len(numbers)), [str",
    ),
    (
        "all_files_open",
        "all files are open at the same time",
        ("sixteen_files_take_turns",),
        "cycle_length=min(16, len(numbers))",
        "cycle_length=len(numbers)",
    ),
    (
        "keys_of_the_dataset",
        "keys count the epochs of the dataset: after a resume those of epoch 2 are those of epoch 0",
        ("keys_count_the_epochs_of_training", "all_options_at_once"),
        "tf.data.Dataset.range(first, first + count)\n        batches = numbers.flat_map(self._epoch)",
        (
            "tf.data.Dataset.range(first, first + count)\n"
            "        batches = numbers.flat_map(lambda number: self._epoch(number - first))"
        ),
    ),
    (
        "images_in_float32",
        "augmented images are float32, whatever came in",
        ("images_keep_their_dtype", NUMBERS),
        "    if noise:\n        change",
        "    moved = images = tf.cast(moved, tf.float32)\n    if noise:\n        change",
    ),
    (
        "blocks_permuted",
        "the shuffle permutes blocks of its size: nothing leaves its block",
        ("shuffle_chooses_among_its_buffer",),
        "return dataset.shuffle(buffer, seed, reshuffle_each_iteration=False) if buffer else dataset",
        (
            "return dataset.window(buffer).flat_map(lambda *parts: tf.data.Dataset.zip(parts).shuffle("
            "buffer, seed, reshuffle_each_iteration=False)) if buffer else dataset"
        ),
    ),
    (
        "all_shuffled",
        "the shuffle chooses among all elements, however many it was told to",
        ("shuffle_chooses_among_its_buffer",),
        "return dataset.shuffle(buffer, seed",
        "return dataset.shuffle(10_000, seed",
    ),
    (
        "seed_unchecked",
        "seeds out of range are taken",
        ("bad_options_are_refused",),
        "0 <= self.seed < 2**63)",
        "True)",
    ),
    (
        "padding_counts",
        "unvectorized, padding counts as tokens: masks are made of one sequence, and padded with True",
        (WAYS,),
        "return elements.padded_batch(options.batch, drop",
        (
            "values = None if options.vectorized else (tf.zeros((), tokens.dtype), True)\n"
            "        return elements.padded_batch(options.batch, padding_values=values, drop"
        ),
    ),
    (
        "files_in_order",
        "records of files are never shuffled",
        (RECORDS,),
        "    return _pipeline(rows, options, transform, augment, None)",
        (
            "    import dataclasses\n\n"
            "    return _pipeline(rows, dataclasses.replace(options, shuffle=0), transform, augment, None)"
        ),
    ),
)


class GoesOn(reference.Pipeline):
    """A second call of epochs goes on where the first one ended."""

    def epochs(self, count: int | None = None, first: int = 0) -> Any:
        done = vars(self).setdefault("done", [0])
        done[0] += count or 0
        return super().epochs(count, first + done[0] - (count or 0))


class HalfCached(reference.Pipeline):
    """An epoch that is broken off leaves a cache that counts as whole: what was read of it."""

    def epochs(self, count: int | None = None, first: int = 0) -> Any:
        batches = super().epochs(count, first)
        if not self.options.cache:
            return batches
        kept, steps = vars(self).setdefault("kept", []), self.steps

        def remembered() -> Any:
            for batch in batches if not kept else kept * (count or 1):
                if steps is not None and len(kept) < steps:
                    kept.append(batch)
                yield batch

        return remembered()


VARIANTS = (
    *(Variant(*row) for row in TABLE),
    *(
        Variant(name, defect, caught_by, edited(augmentation, reference, old=old, new=new))
        for name, defect, caught_by, old, new in LINES
    ),
    Variant("goes_on", "a second call of epochs goes on where the first one ended", (BEGINS,), of(GoesOn)),
    Variant(
        "half_cached",
        "an epoch that was broken off leaves a cache that counts as whole",
        ("a_broken_off_epoch_keeps_nothing",),
        of(HalfCached),
    ),
)
