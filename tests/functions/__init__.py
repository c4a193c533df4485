"""The registry of calls of functions, from which tests are generated: a module a family, `registry` for all."""

from . import basic as basic
from . import fourier as fourier
from . import linear_algebra as linear_algebra
from . import reductions as reductions
from . import scipy_linalg as scipy_linalg
from . import sequences as sequences
from . import shaping as shaping
from . import special as special
from . import ufuncs as ufuncs
from .registry import CALLS as CALLS
from .registry import Call as Call
