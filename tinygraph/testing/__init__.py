"""Testing: proofs of gradients, with a verdict and a diagnosis.

`check_gradients` checks a function and, if there is one, the backward that somebody derived for it by hand. Reports
print as tables, and raise in tests.
"""

from .checks import check_gradients, check_op
from .comparison import Comparison, compare
from .modules import ops_of
from .report import Entry, GradientError, Report, Verdict

__all__ = [
    "Comparison",
    "Entry",
    "GradientError",
    "Report",
    "Verdict",
    "check_gradients",
    "check_op",
    "compare",
    "ops_of",
]
