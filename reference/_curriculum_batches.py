"""The batches of a curriculum, for whatever trains: as NumPy, as `tf.data`, and as a `keras.utils.PyDataset`.

All three gather the rows that the plan draws at each step, and nothing else; so they agree, and any of them can begin
at any step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import keras
from keras import tree

if TYPE_CHECKING:
    from reference.curriculum import Curriculum

Data = Any  # arrays of N rows in a nest of tuples (named ones, too), lists and dicts: x, (x, y) or ({"letters": x}, y)


def batches(plan: Curriculum, data: Data, start: int = 0) -> Iterator[Data]:
    """The batches of a plan as NumPy arrays, from step `start` to the last.

    Raises:
        ValueError: an array in `data` has not N rows, or there is no such step.
    """
    row_count(data, len(plan.order))
    return (rows_of(data, plan.indices(step)) for step in plan.steps(start))


def to_tf_data(plan: Curriculum, data: Data, start: int = 0) -> Any:
    """The batches of a plan as a `tf.data.Dataset` of known length and shapes; arguments and errors as in `batches`.

    Tuples take the place of the lists in `data`, since tf.data has no lists.
    """
    import tensorflow as tf

    row_count(data, len(plan.order))
    with tf.device("cpu:0"):  # where tf.data gathers
        tensors = _mapped(tf.convert_to_tensor, data, tuple)

    def gather(step: Any) -> Any:
        indices = tf.ensure_shape(tf.numpy_function(plan.indices, [step], tf.int64), (plan.batch_size,))
        return _mapped(lambda tensor: tf.gather(tensor, indices), tensors)

    steps = plan.steps(start)
    return tf.data.Dataset.range(steps.start, steps.stop).map(gather).prefetch(tf.data.AUTOTUNE)


class CurriculumDataset(keras.utils.PyDataset):
    """The batches of a plan for `fit`, on any backend.

    It has no length, and goes on after the last step of the plan. Of a dataset that has a length, `fit` shuffles the
    batches unless told not to; an endless one it reads in order, through all epochs:

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
    """The rows of every array in a nest."""
    return _mapped(lambda array: array[rows], data)


def _mapped(function: Callable[[Any], Any], data: Data, lists: type = list) -> Data:
    """A function of every array in a nest; `keras.tree` would take ten times as long as to gather rows.

    Args:
        function: of an array.
        data: the nest.
        lists: what stands for its lists.
    """
    if isinstance(data, dict):
        return {name: _mapped(function, each, lists) for name, each in data.items()}
    if isinstance(data, tuple | list):
        found = [_mapped(function, each, lists) for each in data]
        if hasattr(data, "_fields"):  # a named tuple
            return type(data)(*found)
        return (lists if isinstance(data, list) else type(data))(found)
    return function(data)


def row_count(data: Data, size: int | None = None) -> int:
    """How many rows all arrays have: `size`, if given."""
    lengths = [len(array) for array in tree.flatten(data)]
    if not lengths or set(lengths) != {lengths[0] if size is None else size}:
        raise ValueError(f"arrays with {size or 'equally many'} rows expected; they have {lengths}")
    return lengths[0]
