"""The registry of calls of functions, from which tests are generated: a module a family, `registry` for all."""

from . import basic as basic
from . import linear_algebra as linear_algebra
from . import reductions as reductions
from .registry import CALLS as CALLS
from .registry import Call as Call
