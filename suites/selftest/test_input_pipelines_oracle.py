"""The oracle of input pipelines against published values of SplitMix64, SciPy's shift and Keras's padding."""

import itertools

import keras
import numpy as np
from scipy import ndimage

from suites.properties.oracles import input_pipelines as oracle

SPLITMIX64_OF_1234567 = (
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
)
"""The first values from the state 1234567, as Rosetta Code lists them under "Pseudo-random numbers/Splitmix64"."""


def test_generator_is_splitmix64() -> None:
    """Bit for bit the published values."""
    assert tuple(oracle.value(1234567, number) for number in range(5)) == SPLITMIX64_OF_1234567


def test_moves_are_those_of_scipy() -> None:
    """Images are moved down and to the right as `scipy.ndimage.shift` does, farther than their size too."""
    image = np.arange(24.0).reshape(3, 4, 2) + 1
    for down, right in itertools.product(range(-5, 6), repeat=2):
        expected = ndimage.shift(image, (down, right, 0), order=0)
        np.testing.assert_array_equal(oracle.moved(image, down, right), expected)


def test_padding_is_that_of_keras() -> None:
    """Tokens are padded as `keras.utils.pad_sequences` does; the mask is its padding of ones."""
    sequences = [[0, 3, 0], [2], [5, 0, 0, 1]]
    tokens, mask = oracle.padded(sequences)
    np.testing.assert_array_equal(tokens, keras.utils.pad_sequences(sequences, padding="post"))
    ones = [[1] * len(sequence) for sequence in sequences]
    np.testing.assert_array_equal(mask, keras.utils.pad_sequences(ones, padding="post").astype(bool))
