"""Random numbers as part of a graph: a stream is a state, and drawing from it moves it on.

A number is a function of the stream's key and a counter (SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom
number generators", 2014), so eager code and every compiled target draw the same ones, and a program that was traced
once draws new ones at each call. No gradient flows into them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .node import MAPPING, TRACE, Node, State
from .op import Op

_STEP, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


class Uniform(Op):
    """y = numbers in [0, 1), the i-th of them a hash of key + (counter + i) times the golden ratio

    state: the key and the counter, two uint64. The numbers are multiples of 2**-53 (of 2**-24 in float32).
    """

    def forward(self, state: Any, *, shape: tuple[int, ...], dtype: Any) -> Any:
        places = np.arange(int(np.prod(shape, dtype=int)), dtype=np.uint64)
        z = state[:1] + (state[1:] + places) * np.uint64(_STEP)
        z = (z ^ (z >> 30)) * np.uint64(_MIX_1)
        z = (z ^ (z >> 27)) * np.uint64(_MIX_2)
        z = z ^ (z >> 31)
        digits = 53 if np.dtype(dtype) == np.float64 else 24
        return ((z >> (64 - digits)).astype(dtype) * 2.0**-digits).reshape(shape)

    def backward(self, grad: Any, y: Any, state: Any, *, shape: Any, dtype: Any) -> Any:
        return None


class Stream(State):
    """A stream of random numbers: an explicit state, the same for the same seed, that every draw moves on.

    >>> import numpy as np, tinygraph as tg
    >>> stream = tg.Stream(0)
    >>> x = tg.Parameter(np.ones(3))
    >>> dropped = np.where(stream.random((3,)) < 0.5, x / 0.5, 0.0)
    """

    __slots__ = ()

    def __init__(self, seed: Any = 0, name: str | None = None) -> None:
        if isinstance(seed, int | np.integer):
            if seed < 0:
                raise ValueError(f"a seed is an integer >= 0, not {seed}")
            key = np.random.SeedSequence(int(seed)).generate_state(1, np.uint64)
            seed = np.concatenate([key, np.zeros(1, np.uint64)])
        super().__init__(seed, name)  # or, for a copy, the value of the stream that is copied

    def random(self, shape: int | tuple[int, ...] = (), dtype: Any = np.float64) -> Node:
        """A node of uniform numbers in [0, 1), of that shape, in float64 or float32.

        In a function that `tg.vmap` maps, each entry of the batch gets numbers of its own.
        """
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if (mapping := MAPPING.get()) is not None:
            return mapping.drawn(lambda n: self.random((n, *shape), dtype))
        if np.dtype(dtype) not in (np.float64, np.float32):
            raise TypeError(f"random numbers come in float64 and float32, not in {np.dtype(dtype)}")
        state = self.current()
        drawn = Uniform(state, shape=shape, dtype=np.dtype(dtype))
        n = int(np.prod(shape, dtype=int))
        moved = state + np.array([0, n], np.uint64)
        self.value = moved if TRACE.get() is not None else moved.value
        return drawn

    def standard_normal(self, shape: int | tuple[int, ...] = (), dtype: Any = np.float64) -> Node:
        """A node of normal numbers with mean 0 and variance 1, of that shape (Box and Muller)."""
        u, v = self.random(shape, dtype), self.random(shape, dtype)
        return np.sqrt(-2 * np.log(1 - u)) * np.cos(2 * np.pi * v)
