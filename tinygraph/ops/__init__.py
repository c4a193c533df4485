"""The ops, a file per family. Importing this package registers them with NumPy's protocols."""

from ..op import Op as _Op
from . import arithmetic, linear_algebra, neural, reductions, selection, shaping

__all__ = []
for _module in (arithmetic, linear_algebra, neural, reductions, selection, shaping):
    for _name, _op in vars(_module).items():
        if isinstance(_op, type) and issubclass(_op, _Op) and _op.__module__ == _module.__name__:
            globals()[_name] = _op
            __all__.append(_name)
__all__.sort()
