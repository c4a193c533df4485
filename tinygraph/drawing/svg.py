"""SVG and DOT: the text of a picture, from its boxes.

Each kind of box has its own outline, colour and shade of grey: data slanted and orange, parameters round and dark blue,
other states round, dashed and green, ops in rectangles without colour. The style is part of the picture, in a
light and a dark form, of which the reader's system chooses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b
from html import escape
from itertools import pairwise

from .graph import Graph, Group, Shown
from .layout import Box, Point, arrange

# By kind: the fill and the text on it, in light and dark. Hues of Okabe & Ito; their greys differ, too.
FILLS = {
    "data": (("#F0A830", "#000000"), ("#E69F00", "#000000")),
    "parameter": (("#0067A3", "#FFFFFF"), ("#0072B2", "#FFFFFF")),
    "state": (("#35B08A", "#000000"), ("#009E73", "#000000")),
    "variable": (("#9AD0F0", "#000000"), ("#56B4E9", "#000000")),
    "op": (("#F6F7F8", "#15181C"), ("#2A2F36", "#F2F4F6")),
}
# Paper, text, lines, and the surface and border of a group, in light and dark.
INKS = ("#FFFFFF", "#15181C", "#5B6470", "#F1F4F8", "#A9B2BD"), ("#14171B", "#F2F4F6", "#9AA4B0", "#1C2127", "#4A535E")
LEFT = ' style="text-anchor: end"'
FONT = "Arial, Helvetica, sans-serif"
LONGEST = 34  # letters in a line

# The width of letters in a font at least as wide as what readers have (DejaVu Sans), in hundredths of its size.
_WIDTHS = {letter: width for width, letters in {
    28: "'ijl", 30: "IJ", 32: " ,.·", 34: "/:;\\|", 36: "f-", 40: "()[]t!", 42: "r", 46: '"', 53: "*_`sz?", 56: "cL",
    59: "Fkvxy", 62: "PTYaoe", 64: "EhnuSbdgpq$0123456789{}", 70: "KAVXZBRC", 78: "UNHDG&", 84: "OQw#+<=>^~×‖∂",
    87: "M", 100: "%mW@…"}.items() for letter in letters}


def text_width(text: str, size: float) -> float:
    """At most so wide is a line of that font size."""
    return size / 100 * sum(_WIDTHS.get(letter, 70 if letter < "\u0250" else 105) for letter in text)


def clipped(text: str) -> str:
    """A line that is not too long: what is left out is in the middle."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST - 13]}…{text[-12:]}"


class Picture:
    """A graph with sizes and places. notes: for boxes, a further line each."""

    def __init__(self, graph: Graph, notes: Mapping[Shown, str]) -> None:
        self.graph, self.notes = graph, notes
        self.places: dict[Shown | Group, Box] = {}
        top = [self._placed(member) for member in graph.top.members]
        self.edges = graph.edges
        self.width, self.height, self.lines = arrange(
            top, [(self.places[u], self.places[v]) for u, v in self.edges])

    def _placed(self, member: Shown | Group) -> Box:
        if isinstance(member, Group):
            members = list(map(self._placed, member.members))
            box = Box(text_width(clipped(member.title), 12), 0, head=22, members=members)
        else:
            lines = [text_width(clipped(member.title), 13), *(text_width(line, 11) for line in self._details(member))]
            height = 16.0 + 14 * len(lines)
            side = {"op": 10.0, "data": 16.0}.get(member.kind, height / 2)
            label = text_width(member.flow, 11) if any(u is member for u, _ in self.graph.edges) else 0.0
            frame = 8 * member.is_output + 6 * member.folded
            box = Box(max(max(lines) + 2 * side, 48.0) + frame, height + frame, label)
        self.places[member] = box
        return box

    def _details(self, shown: Shown) -> list[str]:
        details = [clipped(line) for line in shown.details]
        if not any(u is shown for u, _ in self.graph.edges) and shown.flow:
            details.append(shown.flow)  # nothing leaves it, so there is no line to write it on
        return [*details, self.notes[shown]] if shown in self.notes else details

    # ---------------------------------------------------------------------------------------------------------- SVG

    def svg(self) -> str:
        """One svg element, with its style, a title, and a description in words."""
        kinds = self._legend_entries()
        legend = self._legend(kinds)
        width = max(self.width, legend[1] + 16, 160.0)
        shift = (width - self.width) / 2
        height = self.height + 34
        groups = [self._group(shown) for shown in self.places if isinstance(shown, Group)]
        titles = [self._group_title(shown) for shown in self.places if isinstance(shown, Group)]
        body = [f'<g transform="translate({_n(shift)} 0)">', *groups, *self._edges(), *titles, *self._flows(),
                *(self._box(i, shown) for i, shown in enumerate(self.graph.boxes)), "</g>",
                f'<g transform="translate(16 {_n(self.height + 8)})">{legend[0]}</g>']
        mark = blake2b("".join(body).encode(), digest_size=4).hexdigest()
        title, description = self.title(), self.description()
        return "\n".join([
            '<svg xmlns="http://www.w3.org/2000/svg" class="tg-graph" role="img" '
            f'viewBox="0 0 {_n(width)} {_n(height)}" width="{_n(width)}" height="{_n(height)}" '
            f'aria-labelledby="tg-{mark}-title tg-{mark}-text" style="max-width: 100%; height: auto">',
            f'<title id="tg-{mark}-title">{escape(title)}</title>',
            f'<desc id="tg-{mark}-text">{escape(description)}</desc>',
            f"<style>{STYLE}</style>",
            '<rect class="tg-paper" width="100%" height="100%" rx="8"/>', *body, "</svg>"]) + "\n"

    def title(self) -> str:
        outputs = [shown.title for shown in self.graph.boxes if shown.is_output]
        return f"Graph of {', '.join(outputs)}" if len(outputs) < 4 else f"Graph of {len(outputs)} outputs"

    def description(self) -> str:
        """How many boxes of each kind there are, and, if they are few, what each is."""
        kinds = Counter(shown.kind for shown in self.graph.boxes)
        parts = [f"{count} {kind if count == 1 or kind == 'data' else kind + 's'}" for kind, count in kinds.items()]
        lines = [shown.tip for shown in self.graph.boxes] if len(self.graph.boxes) <= 50 else []
        return ". ".join([f"{len(self.graph.boxes)} boxes: {', '.join(parts)}", *lines]) + "."

    def _box(self, place: int, shown: Shown) -> str:
        box = self.places[shown]
        classes = ["tg-box", f"tg-{shown.kind}"] + ["tg-output"] * shown.is_output
        x, y, width, height, outlines = box.x, box.y, box.width, box.height, []
        if shown.is_output:  # a frame
            outlines.append(outline(shown.kind, x, y, width, height))
            x, y, width, height = x + 4, y + 4, width - 8, height - 8
        depth = 6.0 * shown.folded  # of a stack
        width, height = width - depth, height - depth
        for d in (6, 3) * shown.folded:
            outlines.append(outline(shown.kind, x + d, y + depth - d, width, height))
        outlines.append(outline(shown.kind, x, y + depth, width, height))
        x, y = x + width / 2, y + depth + 8
        lines = [f'<text class="tg-name" x="{_n(x)}" y="{_n(y + 12)}">{escape(clipped(shown.title))}</text>']
        for i, line in enumerate(self._details(shown)):
            kind = "tg-note" if line == self.notes.get(shown) else "tg-detail"
            lines.append(f'<text class="{kind}" x="{_n(x)}" y="{_n(y + 25 + 14 * i)}">{escape(line)}</text>')
        return (f'<g class="{" ".join(classes)}" data-box="{place}"><title>{escape(shown.tip)}</title>'
                f'{"".join(outlines)}{"".join(lines)}</g>')

    def _group(self, group: Group) -> str:
        box = self.places[group]
        return (f'<g class="tg-group"><rect x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" '
                f'height="{_n(box.height)}" rx="8"/></g>')

    def _group_title(self, group: Group) -> str:
        """In the upper left corner, or in the right one if lines run through the left one and not through that."""
        box, title = self.places[group], clipped(group.title)
        width = text_width(title, 12)
        corners = box.x + 10, box.x + box.width - 10 - width
        taken = [sum(x - 4 < at < x + width + 4 and y0 < box.y + 20 and y1 > box.y
                     for points in self.lines for (at, y0), (_, y1) in pairwise(points)) for x in corners]
        x = corners[taken[1] < taken[0]]
        return f'<text class="tg-title" x="{_n(x)}" y="{_n(box.y + 16)}">{escape(title)}</text>'

    def _edges(self) -> list[str]:
        found, place = [], {shown: i for i, shown in enumerate(self.graph.boxes)}
        for (u, v), points in zip(self.edges, self.lines, strict=True):
            x, y = points[-1]
            line = curve([*points[:-1], (x, y - 5)])
            tip = f"M{_n(x - 4)} {_n(y - 8)}L{_n(x)} {_n(y - 1)}L{_n(x + 4)} {_n(y - 8)}z"
            found.append(f'<g class="tg-edge" data-from="{place[u]}" data-to="{place[v]}"><path d="{line}"/>'
                         f'<path class="tg-tip" d="{tip}"/></g>')
        return found

    def _flows(self) -> list[str]:
        """The shapes, where the lines begin."""
        turns: dict[Shown, list[float]] = {}
        for (u, _), points in zip(self.edges, self.lines, strict=True):
            sides = [x - points[0][0] for x, _ in points]
            turns.setdefault(u, []).append(next((side for side in sides if abs(side) > 1), 0.0))
        found = []
        for shown, turn in turns.items():
            box = self.places[shown]
            left = min(turn) >= 0 < max(turn)  # on the side that the lines leave free
            found.append(f'<text class="tg-flow" x="{_n(box.x + box.width / 2 + (-6 if left else 6))}" '
                         f'y="{_n(box.y + box.height + 14)}"{LEFT * left}>{escape(shown.flow)}</text>')
        return found

    def _legend_entries(self) -> list[str]:
        kinds = [kind for kind in FILLS if any(shown.kind == kind for shown in self.graph.boxes)]
        return kinds + ["folded"] * any(shown.folded for shown in self.graph.boxes) + ["output"]

    @staticmethod
    def _legend(kinds: list[str]) -> tuple[str, float]:
        parts, x = [], 0.0
        for kind in kinds:
            plain = "op" if kind in ("folded", "output") else kind
            shifts = (4, 2, 0) if kind == "folded" else (0,)
            shapes = "".join(outline(plain, x + d, 3 - d, 20, 11) for d in shifts)
            if kind == "output":
                shapes = outline("op", x - 2, 1, 24, 15) + shapes
            parts.append(f'<g class="tg-box tg-{plain}{" tg-output" * (kind == "output")}">{shapes}</g>'
                         f'<text class="tg-key" x="{_n(x + 28)}" y="13">{kind}</text>')
            x += 28 + text_width(kind, 11) + 16
        return "".join(parts), x

    # ---------------------------------------------------------------------------------------------------------- DOT

    def dot(self) -> str:
        """The same boxes, groups and lines for Graphviz, which finds other places."""
        number = {shown: f"n{i}" for i, shown in enumerate(self.graph.boxes)}
        lines = ["digraph {", f"  graph [label={_quoted(self.title())}, fontname=Helvetica, rankdir=TB];",
                 "  node [fontname=Helvetica, fontsize=11, style=filled];", "  edge [fontname=Helvetica, fontsize=9];"]
        lines += self._dot_members(self.graph.top, number, "  ")
        for u, v in self.edges:
            lines.append(f"  {number[u]} -> {number[v]} [label={_quoted(u.flow)}];")
        return "\n".join([*lines, "}"]) + "\n"

    def _dot_members(self, group: Group, number: Mapping[Shown, str], indent: str) -> list[str]:
        lines = []
        for member in group.members:
            if isinstance(member, Group):
                lines += [f"{indent}subgraph {_quoted('cluster ' + member.path)} {{",
                          f"{indent}  label={_quoted(member.title)};",
                          *self._dot_members(member, number, indent + "  "), f"{indent}}}"]
                continue
            fill, ink = FILLS[member.kind][0]
            shape = {"op": "box", "data": "parallelogram"}.get(member.kind, "ellipse")
            label = "\n".join([member.title, *self._details(member)])
            more = ", peripheries=2" * member.is_output + ', style="filled,dashed"' * (member.kind == "state")
            lines.append(f'{indent}{number[member]} [label={_quoted(label)}, shape={shape}, fillcolor="{fill}", '
                         f'fontcolor="{ink}"{more}];')
        return lines


def outline(kind: str, x: float, y: float, width: float, height: float) -> str:
    """The outline of a box of that kind."""
    if kind == "data":
        slant = min(8.0, height / 2)
        return (f'<path d="M{_n(x + slant)} {_n(y)}H{_n(x + width)}L{_n(x + width - slant)} {_n(y + height)}'
                f'H{_n(x)}z"/>')
    if kind == "variable":
        cut = height / 2.5
        return (f'<path d="M{_n(x + cut)} {_n(y)}H{_n(x + width - cut)}L{_n(x + width)} {_n(y + height / 2)}'
                f'L{_n(x + width - cut)} {_n(y + height)}H{_n(x + cut)}L{_n(x)} {_n(y + height / 2)}z"/>')
    round = min(height / 2, 20.0) if kind in ("parameter", "state") else 3.0
    return f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" rx="{_n(round)}"/>'


def curve(points: list[Point]) -> str:
    """A line through points: straight down, or curved where the next one is to the side."""
    (x, y), *rest = points
    parts = [f"M{_n(x)} {_n(y)}"]
    for x1, y1 in rest:
        if abs(x1 - x) < 0.5:
            parts.append(f"L{_n(x1)} {_n(y1)}")
        else:
            middle = (y + y1) / 2
            parts.append(f"C{_n(x)} {_n(middle)} {_n(x1)} {_n(middle)} {_n(x1)} {_n(y1)}")
        x, y = x1, y1
    return "".join(parts)


def _n(x: float) -> str:
    return f"{x:.1f}".removesuffix(".0")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _style(mode: int) -> str:
    paper, ink, line, surface, border = INKS[mode]
    rules = [f".tg-graph .tg-paper{{fill:{paper}}}",
             f".tg-graph .tg-group rect{{fill:{surface};stroke:{border}}}",
             f".tg-graph .tg-key{{fill:{ink}}}.tg-graph .tg-title{{fill:{ink};stroke:{surface}}}",
             f".tg-graph .tg-edge path{{stroke:{line}}}.tg-graph .tg-edge .tg-tip{{fill:{line}}}",
             f".tg-graph .tg-flow{{fill:{ink};stroke:{paper}}}",
             f".tg-graph .tg-box rect,.tg-graph .tg-box path{{stroke:{ink}}}"]
    for kind, modes in FILLS.items():
        fill, text = modes[mode]
        rules.append(f".tg-graph .tg-{kind} rect,.tg-graph .tg-{kind} path{{fill:{fill}}}"
                     f".tg-graph .tg-{kind} text{{fill:{text}}}")
    return "".join(rules)


STYLE = (
    f".tg-graph text{{font-family:{FONT};font-size:11px;text-anchor:middle}}"
    ".tg-graph .tg-name{font-size:13px;font-weight:normal}"
    ".tg-graph .tg-title{font-size:12px}.tg-graph .tg-title,.tg-graph .tg-flow,.tg-graph .tg-key{text-anchor:start}"
    ".tg-graph .tg-flow,.tg-graph .tg-title{paint-order:stroke;stroke-width:4px;stroke-linejoin:round}"
    ".tg-graph .tg-edge path{fill:none;stroke-width:1.4}.tg-graph .tg-edge .tg-tip{stroke:none}"
    ".tg-graph .tg-box rect,.tg-graph .tg-box path{stroke-width:1.2}"
    ".tg-graph .tg-state rect{stroke-dasharray:5 3}"
    + _style(0) + "@media (prefers-color-scheme:dark){" + _style(1) + "}")


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, #RRGGBB, as WCAG 2 defines it: from 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


