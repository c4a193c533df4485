"""Sparse matrices whose values may be nodes; SciPy's own meet nodes in `S @ node` without this module."""

from ..ops.sparse import csr_array, spsolve

__all__ = ["csr_array", "spsolve"]
