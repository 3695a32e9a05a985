"""Square roots of symmetric matrices by their eigenvectors."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

import numpy as np
from threadpoolctl import threadpool_limits

from dp.arrays import Floats


def one_thread() -> AbstractContextManager[object]:
    """Linear algebra in one thread: on matrices of this size several wait for each other longer than they work."""
    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits


def square_roots(matrix: Floats) -> tuple[Floats, Floats]:
    """Square roots of the eigenvalues, kept away from 0, and the eigenvectors."""
    # SciPy's `eigh` gives the same bits and holds the interpreter's lock meanwhile.
    values, vectors = np.linalg.eigh(matrix)
    return np.sqrt(np.maximum(values, 1e-14 * values.max(initial=0.0))), vectors


def mirrored_square_roots(matrix: Floats) -> tuple[Floats, Floats]:
    """`square_roots` of a matrix that is the same from behind: those of two halves, which take a quarter of the time.

    Its eigenvectors are the same from behind or change their sign.
    """
    half, odd = divmod(len(matrix), 2)
    near, far = matrix[:half, :half], matrix[:half, : half + odd - 1 : -1]
    even = np.empty((half + odd, half + odd))
    even[:half, :half] = near + far
    if odd:
        even[half, half] = matrix[half, half]
        even[:half, half] = even[half, :half] = math.sqrt(2) * matrix[:half, half]
    even_roots, even_vectors = square_roots(even)
    odd_roots, odd_vectors = square_roots(near - far)
    vectors = np.zeros_like(matrix)
    vectors[:half, : half + odd] = even_vectors[:half] / math.sqrt(2)
    vectors[:half, half + odd :] = odd_vectors / math.sqrt(2)
    vectors[half : half + odd, : half + odd] = even_vectors[half:]
    vectors[half + odd :, : half + odd] = vectors[:half, : half + odd][::-1]
    vectors[half + odd :, half + odd :] = -vectors[:half, half + odd :][::-1]
    return np.concatenate([even_roots, odd_roots]), vectors
