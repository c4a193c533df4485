"""The compiler: a traced function becomes a program, passes improve it, a target prints it as code that runs.

`decorator` (tg.compile) is on top; below are the targets, a file each; `passes`, from Program to Program; `trace`,
from a function to a Program; `program` and `outline`. None of them knows anything of derivatives.
"""

from .decorator import compile

__all__ = ["compile"]
