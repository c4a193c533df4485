"""The NumPy target (interpreting, for now)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .program import Program


class Executable:
    name = "numpy"

    def __init__(self, program: Program) -> None:
        self.program = program
        self.source = str(program)
        self.updated = [program.states.index(state) for state, _ in program.updates]

    def quick(self, entry: Any) -> None:
        return None

    def run(self, inputs: list[Any], states: list[np.ndarray]) -> list[Any]:
        outputs, new = self.program.run(inputs, states)
        new = [np.array(x) for x in new]
        for i, x in zip(self.updated, new, strict=True):
            states[i][...] = x
        return [np.array(x) if not var.weak else x for x, var in zip(outputs, self.program.outputs, strict=True)]


def build(program: Program) -> Executable:
    return Executable(program)
