"""What each engine is told once, before it is used: the number of threads, and what makes it fastest on a CPU.

`prepare(name, threads)` is called in the contender's own process, so nothing here is undone.
"""

from __future__ import annotations

import os
from typing import Any

# The contenders' names, in the order of the table's columns, and the modules that they need.
MODULES = {
    "by hand": "numpy",
    "PyTorch": "torch",
    "torch.compile": "torch",
    "JAX": "jax",
    "PyTensor": "pytensor",
    "HIPS autograd": "autograd",
    "MyGrad": "mygrad",
    "tinygraph eager": "tinygraph",
    "tinygraph numpy": "tinygraph",
    "tinygraph native": "tinygraph",
}
PEERS = ["PyTorch", "torch.compile", "JAX", "PyTensor", "HIPS autograd", "MyGrad"]
TINYGRAPH = ["tinygraph eager", "tinygraph numpy", "tinygraph native"]


def prepare(name: str, threads: int, dtype: Any) -> None:
    """Import the engine of that contender, and say to it what must be said before anything else."""
    module = MODULES[name]
    if module == "torch":
        import torch

        torch.set_num_threads(threads)
    elif module == "jax":
        # The size of XLA's pool of threads. A computation that starts on the caller's own thread saves 10 us.
        os.environ["NPROC"] = str(threads)
        import jax

        jax.config.update("jax_enable_x64", dtype == "float64")
        jax.config.update("jax_cpu_enable_async_dispatch", False)
    elif module == "mygrad":
        import mygrad

        mygrad.turn_memory_guarding_off()  # as its docs advise for speed
    else:
        __import__(module)


def pytensor_function(inputs: list[Any], outputs: Any, updates: Any = ()) -> Any:
    """A PyTensor function that runs Numba's code: 13 us where its C code takes 36 us for the step of [2, 10, 2].
    (Without an own BLAS, which no wheel brings, its C code is slower on large matrices too.)"""
    import pytensor

    return pytensor.function(inputs, outputs, updates=list(updates), mode="NUMBA", trust_input=True)


def tinygraph_compiled(name: str, threads: int) -> Any:
    """What the contender of that name does to a function: nothing, or `tg.compile` for one of the targets."""
    import tinygraph as tg

    compilers = {"tinygraph eager": lambda function: function,
                 "tinygraph numpy": lambda function: tg.compile(function, target="numpy"),
                 "tinygraph native": lambda function: tg.compile(function, target="native", threads=threads)}
    return compilers[name]
