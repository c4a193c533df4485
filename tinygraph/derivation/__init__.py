"""`tg.derive`: the derivation of a network, written from its graph."""

from .document import Derivation as Derivation
from .document import derive as derive
