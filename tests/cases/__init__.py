"""The registry of op cases, from which tests are generated: a module a family, and what all use in `registry`."""

from . import basic as basic
from . import linear_algebra as linear_algebra
from . import reductions as reductions
from . import shaping as shaping
from . import sparse as sparse
from . import special as special
from . import ufuncs as ufuncs
from .registry import CASES as CASES
from .registry import RANDOM as RANDOM
from .registry import Case as Case
from .registry import is_float as is_float
