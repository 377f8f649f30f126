"""What is timed: a step, and new inputs for each of its calls.

A step that is called again and again with the same tensors can be won by remembering: by the tensors themselves, or by
what is in them. So no two timed calls have the same inputs. They are drawn between the rounds, by a number that the
coordinator sends, and all contenders of a race get the same ones in the same place.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = Any
"""A NumPy array, or a nest of lists and tuples of them."""

POOL_BYTES = 4 << 20
"""Of a prepared batch no more rows are kept than this: inputs must be small beside what is measured."""

MOST_BYTES, MOST_INPUTS = 4 << 20, 256
"""Inputs that lie ready at the same time; where a round needs more, its clock stops while new ones are made."""

LEAD_IN_INPUTS = 4
"""What comes before a round is not timed: few inputs may take turns there, as long as they are not the round's."""


class Inputs:
    """A prepared batch, from which other batches of the same shapes and dtypes are drawn.

    Rows are drawn with repetition, so that not even the sum over a batch is another one's. The symbols of sequences
    change names with each other, in each array its own, since a batch may be a single row; 0 is padding and stays. How
    long a step takes depends on neither.
    """

    def __init__(self, *batch: Arrays) -> None:
        """Args: what the step is called with, NumPy arrays whose first axis are the rows of the batch."""
        import keras

        arrays = keras.tree.flatten(batch)
        self.rows = len(arrays[0])
        self.bytes = sum(array.nbytes for array in arrays)
        kept = max(1, min(self.rows, POOL_BYTES * self.rows // self.bytes))
        self._pool = keras.tree.map_structure(lambda array: np.array(array[:kept]), batch)
        self._kept = kept

    def draw(self, generator: np.random.Generator) -> tuple[Arrays, ...]:
        """Another batch."""
        import keras

        rows = generator.integers(self._kept, size=self.rows)

        def drawn(array: np.ndarray) -> np.ndarray:
            if array.dtype.kind not in "iu" or array.ndim < 2:
                return array[rows]
            names = np.arange(array.max() + 1, dtype=array.dtype)
            symbols = np.flatnonzero(np.bincount(array.ravel())[1:]) + 1
            names[symbols] = generator.permutation(symbols)
            return names[array[rows]]

        batch: tuple[Arrays, ...] = keras.tree.map_structure(drawn, self._pool)
        return batch


@dataclass(frozen=True)
class Step:
    """One step of an operation.

    Attributes:
        call: does it once, with inputs that lie on the device, and returns what a caller would wait for.
        inputs: from which those of each call are drawn; a step that makes its own data has none.
        model: whose weights the step uses, where `benchmarks.evidence` may change them after the last round.
        trains: whether each call changes the model's weights.
        equal: whether the model has had the weights of `benchmarks.evidence.equalize` from the start.
    """

    call: Callable[..., Any]
    inputs: Inputs | None = None
    model: Any = None
    trains: bool = False
    equal: bool = False

    def feed(self, calls: int, draw: int | Sequence[int] | None) -> Iterator[Iterable[tuple[Any, ...]]]:
        """What so many calls are given, in groups that lie ready at the same time; another draw, other inputs.

        The last call has the inputs that were drawn first: with the same draw, they are the same after any number.
        """
        if self.inputs is None:
            yield itertools.repeat((), calls)
            return
        generator = np.random.default_rng(draw)
        last = self.inputs.draw(generator)
        size = max(1, min(MOST_INPUTS, MOST_BYTES // self.inputs.bytes))
        for start in range(0, calls, size):
            others = min(calls - start, size) - (start + size >= calls)
            group = [on_device(self.inputs.draw(generator)) for _ in range(others)]
            yield group if start + size < calls else [*group, on_device(last)]


def on_device(arrays: Arrays) -> Any:
    """NumPy arrays, or a nest of them, as new tensors of the backend."""
    import keras

    return keras.tree.map_structure(lambda array: keras.ops.convert_to_tensor(np.ascontiguousarray(array)), arrays)
