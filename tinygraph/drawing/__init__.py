"""Pictures of graphs: `tg.draw`, and `tg.step_through`, the page that walks through one."""

from .document import Drawing as Drawing
from .document import draw as draw
from .stepping import Steps as Steps
from .stepping import step_through as step_through
