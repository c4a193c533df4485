"""Pictures of graphs: `tg.draw`, and `tg.step_through`, the page that walks through one."""

from .document import Drawing as Drawing
from .document import draw as draw
