"""Cases of the ops of sparse matrices, against the dense ones."""

import numpy as np
from hypothesis import strategies as st

from tinygraph import ops

from .registry import Case, add, add_random, anywhere, given, positive

ROWS, COLUMNS = np.array([0, 0, 1, 3, 3]), np.array([0, 2, 1, 1, 0])  # 4 rows, one without values, and 3 columns
SQUARE_ROWS, SQUARE_COLUMNS = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 2, 0, 2])


def dense(values, rows, columns, shape, transposed):
    matrix = np.zeros(shape, values.dtype)
    for value, i, j in zip(values, rows, columns, strict=True):
        matrix[i, j] += value
    return matrix.T if transposed else matrix


def product(values, rows, columns, X, *, shape, transposed=False):
    return dense(values, rows, columns, shape, transposed) @ X


def solution(values, rows, columns, B, *, shape, transposed=False):
    return np.linalg.solve(dense(values, rows, columns, shape, transposed), B)


def dominant(u):
    """Values for the square pattern that make its diagonal large."""
    return positive(u) + np.array([3, 0, 3, 0, 0, 3])


for transposed in (False, True):
    for tail in ((), (2,)):
        add(ops.SparseMatMul, product, (anywhere, (5,)), (given(ROWS), (5,)), (given(COLUMNS), (5,)),
            (anywhere, (4 if transposed else 3, *tail)), half=False, shape=(4, 3), transposed=transposed)
        add(ops.SparseSolve, solution, (dominant, (6,)), (given(SQUARE_ROWS), (6,)), (given(SQUARE_COLUMNS), (6,)),
            (anywhere, (3, *tail)), half=False, shape=(3, 3), transposed=transposed)


@st.composite
def products(draw):
    m, n = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    rows = np.array(sorted(draw(st.lists(st.integers(0, m - 1), max_size=6))), int)
    columns = np.array(draw(st.lists(st.integers(0, n - 1), min_size=len(rows), max_size=len(rows))), int)
    transposed, tail = draw(st.booleans()), draw(st.sampled_from([(), (1,), (3,)]))
    inputs = [(anywhere, rows.shape), (given(rows), rows.shape), (given(columns), rows.shape),
              (anywhere, (m if transposed else n, *tail))]
    return Case(ops.SparseMatMul, product, inputs, {"shape": (m, n), "transposed": transposed}, half=False)


@st.composite
def systems(draw):
    transposed, tail = draw(st.booleans()), draw(st.sampled_from([(), (1,), (3,)]))
    inputs = [(dominant, (6,)), (given(SQUARE_ROWS), (6,)), (given(SQUARE_COLUMNS), (6,)), (anywhere, (3, *tail))]
    return Case(ops.SparseSolve, solution, inputs, {"shape": (3, 3), "transposed": transposed}, half=False)


add_random(ops.SparseMatMul, products())
add_random(ops.SparseSolve, systems())
