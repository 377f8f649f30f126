"""The batches of a curriculum, for whatever trains: as NumPy, as `tf.data`, and as a `keras.utils.PyDataset`.

All three gather the rows that the plan draws at each step, and nothing else; so they agree, and any of them can begin
at any step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
from keras import tree

if TYPE_CHECKING:
    from reference.curriculum import Curriculum

Data = Any  # a nest of arrays with N rows each, such as (x, y) or ({"letters": x}, y)


def batches(plan: Curriculum, data: Data, start: int = 0) -> Iterator[Data]:
    """The batches of a plan as NumPy arrays, from step `start` to the last.

    Raises:
        ValueError: an array in `data` has not N rows, or there is no such step.
    """
    row_count(data, len(plan.order))
    return (rows_of(data, plan.indices(step)) for step in plan.steps(start))


def to_tf_data(plan: Curriculum, data: Data, start: int = 0) -> Any:
    """The batches of a plan as a `tf.data.Dataset` of known length; arguments and errors as in `batches`."""
    import tensorflow as tf

    row_count(data, len(plan.order))
    with tf.device("cpu:0"):  # where tf.data gathers
        tensors = tree.map_structure(tf.convert_to_tensor, data)

    def gather(step: Any) -> Any:
        indices = tf.ensure_shape(tf.numpy_function(plan.indices, [step], tf.int64), (plan.batch_size,))
        return tree.map_structure(lambda tensor: tf.gather(tensor, indices), tensors)

    steps = plan.steps(start)
    return tf.data.Dataset.range(steps.start, steps.stop).map(gather).prefetch(tf.data.AUTOTUNE)


class CurriculumDataset(keras.utils.PyDataset):
    """The batches of a plan for `fit`, on any backend.

    It has no length. Of a dataset that has one, `fit` shuffles the batches unless told not to; an endless one it reads
    in order, through all epochs:

        model.fit(CurriculumDataset(plan, (x, y)), steps_per_epoch=100, epochs=plan.total_steps // 100, shuffle=False)

    To go on after an interruption: `start=int(model.optimizer.iterations)`.

    Args:
        plan: the plan.
        data: arrays of N rows, such as `(x, y)`.
        start: the step whose batch comes first.
        **kwargs: of `keras.utils.PyDataset`. Several workers on TensorFlow only: elsewhere `fit` builds the model from
            the first batch and, with workers, does not go back to train on it (compare keras issue 20394).

    Raises:
        ValueError: an array in `data` has not N rows, there is no such step, or several workers elsewhere.
    """

    def __init__(self, plan: Curriculum, data: Data, start: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        row_count(data, len(plan.order))
        backend = keras.backend.backend()
        if backend != "tensorflow" and (self.workers > 1 or self.use_multiprocessing):
            raise ValueError(f"`fit` on {backend} would lose a batch with several workers; leave out `workers`")
        self.plan, self.data, self.start = plan, data, plan.steps(start).start

    @property
    def num_batches(self) -> None:
        """None: endless."""

    def __getitem__(self, index: int) -> Data:
        return rows_of(self.data, self.plan.indices(self.start + index))


def rows_of(data: Data, rows: Any) -> Data:
    """The rows of every array in a nest; `keras.tree` would take ten times as long as the gathering."""
    if isinstance(data, dict):
        return {name: rows_of(each, rows) for name, each in data.items()}
    if isinstance(data, tuple | list):
        return type(data)(rows_of(each, rows) for each in data)
    return data[rows]


def row_count(data: Data, size: int | None = None) -> int:
    """How many rows all arrays have: `size`, if given."""
    lengths = [len(array) for array in tree.flatten(data)]
    if not lengths or set(lengths) != {lengths[0] if size is None else size}:
        raise ValueError(f"arrays with {size or 'equally many'} rows expected; they have {lengths}")
    return lengths[0]
