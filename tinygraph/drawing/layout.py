"""Layout: where boxes and the lines between them go, layer by layer, so that all lines point downwards.

`arrange` takes boxes, some of them groups of others, and who points to whom. It follows Sugiyama, Tagawa & Toda (1981):
a layer for each box, just above what it points to; a stand-in wherever a line passes a layer; an order in each layer
that makes few crossings; and then places that make lines straight. A group is arranged by itself, and is one box to
others. Lines curve between layers only and go straight down within them, so none runs through a box. This module knows
sizes and nothing of graphs of nodes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf

Point = tuple[float, float]

BETWEEN = 26.0  # from a box to the next one in its layer
LINE = 12.0  # the room that a line takes where it passes a layer
GAP = (40.0, 110.0)  # from one layer to the next: at least, and at most, where lines go far to the side
SLOT = 16.0  # from one arrow to the next where they end at a box
MARGIN = 16.0  # from the border of a group to what is in it
WIDEST = 1150.0  # boxes of one layer: what would be wider goes to the layer above
ROUNDS = 12  # of ordering, and of placing
EFFORT = 60_000  # pieces of lines times rounds: beyond that there are fewer rounds


@dataclass(eq=False)
class Box:
    """What has a place: its size, and, after `arrange`, its left upper corner. A group has `members`.

    label: the width of what is written below the box, beside the line that leaves it.
    head: for a group, the height of its title; `width` is then how wide the title is.
    """

    width: float
    height: float
    label: float = 0.0
    head: float = 0.0
    members: list[Box] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0

    @property
    def boxes(self) -> list[Box]:
        """This box and those in it."""
        return [self, *(inner for member in self.members for inner in member.boxes)]


def arrange(boxes: Sequence[Box], edges: Sequence[tuple[Box, Box]]) -> tuple[float, float, list[list[Point]]]:
    """Place all boxes; returns width and height, and for each edge the points that its line goes through.

    boxes: the outermost ones, in an order in which each points to later ones only. edges: between boxes that are no
    groups; one that is given twice is drawn twice. Between two points of different x, a line is a curve that starts and
    ends vertically.
    """
    whole = Box(0, 0, members=list(boxes))
    within: dict[Box, list[Box]] = {}  # for each box the groups around it, the innermost first
    _find_groups(whole, [], within)
    lines: list[list[Point]] = [[] for _ in edges]
    _Level(whole, [(i, u, v) for i, (u, v) in enumerate(edges)], within).arrange(lines)
    _move(whole, 0, 0)
    return whole.width, whole.height, lines


def _find_groups(group: Box, outer: list[Box], within: dict[Box, list[Box]]) -> None:
    around = [group, *outer]
    for member in group.members:
        within[member] = around
        _find_groups(member, around, within)


def _move(group: Box, x: float, y: float) -> None:
    """Corners, so far counted from the corner of the group, as they are from that of the whole."""
    for member in group.members:
        member.x += x
        member.y += y
        _move(member, member.x, member.y)


@dataclass(eq=False)
class _Item:
    """What takes room in a layer: a box, a line that passes (then `box` is None), or the place where lines from outside
    come in or leave."""

    box: Box | None
    left: float  # the room that it takes, to both sides of x
    right: float
    height: float = 0.0
    layer: int = 0
    x: float = 0.0
    above: list[_Segment] = field(default_factory=list)
    below: list[_Segment] = field(default_factory=list)


@dataclass(eq=False)
class _Segment:
    """A piece of a line, from an item to one in the next layer below, and where it starts and ends, counted from their
    x. box: the box that it comes from."""

    box: Box
    upper: _Item
    lower: _Item
    start: float = 0.0
    end: float = 0.0
    weight: float = 1.0


class _Level:
    """The members of one group, which is arranged as a drawing by itself."""

    def __init__(self, group: Box, edges: list[tuple[int, Box, Box]], within: dict[Box, list[Box]]) -> None:
        self.group, self.edges, self.within = group, edges, within
        self.inner: dict[Box, _Level] = {}
        self.entries: dict[Box, _Item] = {}  # by the box outside from which a line comes in
        self.exits: dict[Box, _Item] = {}  # by the box inside from which a line leaves
        self.paths: dict[tuple[Box, _Item, int], list[_Segment]] = {}
        self.layers: list[list[_Item]] = []

    def arrange(self, lines: list[list[Point]]) -> None:
        self._measure()
        for line, points in self._lines().items():
            lines[line] = points

    # ------------------------------------------------------------------------------------------------ what there is

    def _item_of(self, box: Box) -> Box | None:
        """The member that is, or holds, a box; None if it is outside."""
        around = self.within[box]
        if self.group not in around:
            return None
        place = around.index(self.group)
        return around[place - 1] if place else box

    def _measure(self) -> None:
        """Find layers, order and places, from the innermost group outwards; gives the group its size."""
        into: dict[Box, list[tuple[int, Box, Box]]] = defaultdict(list)
        for edge in self.edges:
            for box in {self._item_of(edge[1]), self._item_of(edge[2])}:
                if box is not None and box.members:
                    into[box].append(edge)
        self.items: dict[Box, _Item] = {}
        for box in self.group.members:
            if box.members:
                self.inner[box] = _Level(box, into[box], self.within)
                self.inner[box]._measure()
            side = max(box.width / 2, box.label + 8 if box.label else 0.0)
            self.items[box] = _Item(box, side, side, box.height)
        for _, u, v in self.edges:
            if self._item_of(u) is None and u not in self.entries:
                self.entries[u] = _Item(None, LINE / 2, LINE / 2)
            if self._item_of(v) is None and u not in self.exits:
                self.exits[u] = _Item(None, LINE / 2, LINE / 2)
        self._links()
        self._find_layers()
        self._pass_layers()
        pieces = sum(len(item.below) for layer in self.layers for item in layer)
        self.rounds = max(2, min(ROUNDS, EFFORT // (pieces + 1)))
        self._order()
        self._find_places()
        self._find_heights()

    def _links(self) -> None:
        """From which item to which other the edges lead at this level, those that share a line as one."""
        self.links: dict[tuple[Box, _Item, int], tuple[_Item, float, float]] = {}
        self.link_of: dict[int, tuple[Box, _Item, int]] = {}  # of an edge
        copies: dict[tuple[Box, _Item], int] = defaultdict(int)
        for i, u, v in self.edges:
            a, b = self._item_of(u), self._item_of(v)
            if a is b:
                continue
            upper = self.entries[u] if a is None else self.items[a]
            lower = self.exits[u] if b is None else self.items[b]
            start = self.inner[a].exits[u].x - a.width / 2 if a is not None and a.members else 0.0
            end = 0.0
            copy = 0
            if b is not None and b.members:
                end = self.inner[b].entries[u].x - b.width / 2
            elif b is not None:
                copy = copies[u, lower]
                copies[u, lower] += 1
            self.link_of[i] = u, lower, copy
            self.links[u, lower, copy] = upper, start, end

    # ------------------------------------------------------------------------------------------------------- layers

    def _find_layers(self) -> None:
        """Each box just above what it points to; where a layer would be too wide, higher."""
        lowest = 1 if self.exits else 0
        least: dict[_Item, int] = defaultdict(lambda: lowest)
        sources: dict[_Item, list[_Item]] = defaultdict(list)
        for (_, lower, _), (upper, _, _) in self.links.items():
            sources[lower].append(upper)
        used: dict[int, float] = defaultdict(float)
        top = lowest
        for item in self.exits.values():
            for upper in sources[item]:
                least[upper] = 1
        for box in reversed(self.group.members):
            item = self.items[box]
            room = item.left + item.right + BETWEEN
            item.layer = least[item]
            while used[item.layer] and used[item.layer] + room > WIDEST:
                item.layer += 1
            used[item.layer] += room
            top = max(top, item.layer)
            for upper in sources[item]:
                least[upper] = max(least[upper], item.layer + 1)
        for item in self.entries.values():
            item.layer = top + 1
        self.layers = [[] for _ in range(top + 1 + bool(self.entries))]

    def _pass_layers(self) -> None:
        """Cut lines into segments from one layer to the next; lines from one box go together as far as they can."""
        trunks: dict[tuple[Box, _Item], list[tuple[_Item, float, _Segment | None]]] = {}
        everything: list[_Item] = [*self.exits.values(), *self.items.values(), *self.entries.values()]
        for key, (upper, start, end) in self.links.items():
            box, lower, _ = key
            trunk = trunks.setdefault((box, upper), [(upper, start, None)])
            path = []
            for depth in range(upper.layer - lower.layer - 1):
                if depth + 1 == len(trunk):
                    passing = _Item(None, LINE / 2, LINE / 2, layer=upper.layer - depth - 1)
                    everything.append(passing)
                    last, offset, _ = trunk[depth]
                    trunk.append((passing, 0.0, self._segment(box, last, passing, offset, 0.0)))
                segment = trunk[depth + 1][2]
                assert segment is not None
                path.append(segment)
            last, offset, _ = trunk[upper.layer - lower.layer - 1]
            self.paths[key] = [*path, self._segment(box, last, lower, offset, end)]
        self._first_order(everything)

    @staticmethod
    def _segment(box: Box, upper: _Item, lower: _Item, start: float, end: float) -> _Segment:
        lines = (upper.box is None) + (lower.box is None)
        segment = _Segment(box, upper, lower, start, end, (1.0, 2.0, 8.0)[lines])
        upper.below.append(segment)
        lower.above.append(segment)
        return segment

    # -------------------------------------------------------------------------------------------------------- order

    def _first_order(self, everything: Iterable[_Item]) -> None:
        """As met on the way up from the last box: of the inputs of one box, the first is on the left."""
        seen: set[_Item] = set()
        for start in everything:
            stack = [start]
            while stack:
                item = stack.pop()
                if item not in seen:
                    seen.add(item)
                    self.layers[item.layer].append(item)
                    stack += [segment.upper for segment in reversed(item.above)]

    def _order(self) -> None:
        """Rounds of sorting each layer by the mean place of what its items are connected with; keeps the best one."""
        best, fewest = [list(layer) for layer in self.layers], self._crossings()
        for round in range(self.rounds):
            if not fewest:
                break
            down = round % 2 == 0
            for i in reversed(range(len(self.layers) - 1)) if down else range(1, len(self.layers)):
                around = self._packed(self.layers[i + 1 if down else i - 1])
                own = self._packed(self.layers[i])
                mean = {}
                for item in self.layers[i]:
                    ends = ([around[s.upper] + s.start for s in item.above] if down
                            else [around[s.lower] + s.end for s in item.below])
                    mean[item] = sum(ends) / len(ends) if ends else own[item]
                self.layers[i].sort(key=mean.__getitem__)
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [list(layer) for layer in self.layers], crossings
        self.layers = best

    @staticmethod
    def _packed(layer: Sequence[_Item]) -> dict[_Item, float]:
        """Places without holes, their middle at 0."""
        total = sum(item.left + item.right + BETWEEN for item in layer)
        x, places = -total / 2, {}
        for item in layer:
            places[item] = x + item.left
            x += item.left + item.right + BETWEEN
        return places

    def _crossings(self) -> int:
        count = 0
        for upper, lower in zip(self.layers[1:], self.layers, strict=False):
            above, below = self._packed(upper), self._packed(lower)
            ends: list[float] = []
            for _, end in sorted((above[item] + s.start, below[s.lower] + s.end) for item in upper for s in item.below):
                count += len(ends) - bisect_left(ends, end + 1e-9)
                insort(ends, end)
        return count

    # ------------------------------------------------------------------------------------------------------- places

    def _find_places(self) -> None:
        """Rounds of moving each layer to where its lines are straightest, first seen from above, then from below."""
        for layer in self.layers:
            for item, x in self._packed(layer).items():
                item.x = x
        for round in range(self.rounds):
            for layer in reversed(self.layers):
                self._settle(layer, above=True, below=round > self.rounds // 2)
            self._find_slots()
            for layer in self.layers:
                self._settle(layer, above=round > self.rounds // 2, below=True)
        self._straighten()
        self._find_slots()
        left = min((item.x - item.left for layer in self.layers for item in layer), default=0.0) - MARGIN
        right = max((item.x + item.right for layer in self.layers for item in layer), default=0.0) + MARGIN
        extra = max(0.0, self.group.width + MARGIN - (right - left)) / 2  # a title may be wider than what is below it
        for layer in self.layers:
            for item in layer:
                item.x += extra - left
        self.group.width = right - left + 2 * extra

    def _straighten(self) -> None:
        """Where a line passes several layers and a straight one has room, make it straight."""
        runs: list[list[_Item]] = []
        for layer in reversed(self.layers):
            for item in layer:
                if item.box is None and item.above and item.below and item.above[0].upper.box is not None:
                    run = [item]
                    while (below := [s.lower for s in run[-1].below if s.lower.box is None and s.lower.below]):
                        run.append(below[0])
                    runs.append(run)
        for run in sorted(runs, key=len, reverse=True):
            while len(run) > 1:
                low, high, count = -inf, inf, 0
                for item in run:
                    layer = self.layers[item.layer]
                    i = layer.index(item)
                    left = layer[i - 1].x + layer[i - 1].right + item.left + LINE / 2 if i else -inf
                    right = layer[i + 1].x - layer[i + 1].left - item.right - LINE / 2 if i + 1 < len(layer) else inf
                    if max(low, left) > min(high, right):
                        break
                    low, high, count = max(low, left), min(high, right), count + 1
                count = max(count, 1)
                x = sorted(item.x for item in run[:count])[count // 2]
                for item in run[:count]:
                    item.x = min(max(x, low), high) if low <= high else item.x
                run = run[count:]

    @staticmethod
    def _settle(layer: Sequence[_Item], above: bool, below: bool) -> None:
        """Move items to the weighted mean of what they are connected with, as far as order and room allow.

        That is a regression on a rising sequence: neighbours that would overlap are pooled.
        """
        blocks: list[list[float]] = []  # of each: the mean place of its start, its weight, how many items
        shifts: list[float] = []
        shift = before = 0.0
        for item in layer:
            shift += before + item.left if shifts else 0.0
            shifts.append(shift)
            before = item.right + (BETWEEN if item.box else LINE / 2)
            wanted, weight = 0.02 * item.x, 0.02
            for s in item.above if above else ():
                wanted, weight = wanted + s.weight * (s.upper.x + s.start - s.end), weight + s.weight
            for s in item.below if below else ():
                wanted, weight = wanted + s.weight * (s.lower.x + s.end - s.start), weight + s.weight
            blocks.append([wanted / weight - shift, weight, 1])
            while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
                place, weight, count = blocks.pop()
                last = blocks[-1]
                last[0] = (last[0] * last[1] + place * weight) / (last[1] + weight)
                last[1] += weight
                last[2] += count
        items = iter(zip(layer, shifts, strict=True))
        for place, _, count in blocks:
            for _ in range(int(count)):
                item, shift = next(items)
                item.x = place + shift

    def _find_slots(self) -> None:
        """Where arrows end at a box: side by side, in the order in which they come."""
        for layer in self.layers:
            for item in layer:
                if item.box is not None and not item.box.members and len(item.above) > 1:
                    step = min(SLOT, 0.8 * item.box.width / len(item.above))
                    arriving = sorted(item.above, key=lambda s: s.upper.x + s.start)
                    for i, segment in enumerate(arriving):
                        segment.end = step * (i - (len(arriving) - 1) / 2)

    def _find_heights(self) -> None:
        """From the top: each layer as high as its highest box, and more room where lines go far to the side."""
        group, y = self.group, self.group.head
        self.extent: list[tuple[float, float]] = [(0.0, 0.0)] * len(self.layers)
        for i in reversed(range(len(self.layers))):
            height = max((item.height for item in self.layers[i]), default=0.0)
            outside = not any(item.box for item in self.layers[i])  # lines that come in or leave
            if i == len(self.layers) - 1 and not outside:
                y += MARGIN
            self.extent[i] = y, y + height
            for item in self.layers[i]:
                if item.box is not None:
                    item.box.x, item.box.y = item.x - item.box.width / 2, y + (height - item.height) / 2
            y += height
            if i:
                far = max((abs(s.upper.x + s.start - s.lower.x - s.end) for item in self.layers[i] for s in item.below),
                          default=0.0)
                y += min(max(GAP[0] if not outside or far > LINE else 2.0, 0.2 * far), GAP[1])
            elif not outside:
                y += MARGIN
        group.height = y

    # -------------------------------------------------------------------------------------------------------- lines

    def _lines(self) -> dict[int, list[Point]]:
        """The points of each edge, counted from the corner of the whole; called when all sizes are known."""
        return {i: self._points(i, u, v) for i, u, v in self.edges}

    def _points(self, i: int, u: Box, v: Box) -> list[Point]:
        a, b = self._item_of(u), self._item_of(v)
        points: list[Point] = []
        if a is not None and a.members:
            points += [(x + a.x, y + a.y) for x, y in self.inner[a]._points(i, u, v)]
        if a is b:
            return points
        path = self.paths[self.link_of[i]]
        if a is not None:
            points.append((path[0].upper.x + path[0].start, a.y + a.height))
        else:
            points.append((path[0].upper.x, 0.0))
        for segment in path:
            points.append((segment.upper.x + segment.start, self.extent[segment.upper.layer][1]))
            points.append((segment.lower.x + segment.end, self.extent[segment.lower.layer][0]))
        last = path[-1]
        points.append((last.lower.x + last.end, b.y if b is not None else self.group.height))
        if b is not None and b.members:
            points += [(x + b.x, y + b.y) for x, y in self.inner[b]._points(i, u, v)]
        return points
