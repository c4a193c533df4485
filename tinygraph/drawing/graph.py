"""Graph: which boxes a picture of nodes has, what stands in them, and who points to whom.

A box is a node, an array that an op was given, or many of those that are folded into one: a run of elementwise ops, a
piece of graph that is repeated, the many inputs of one box. Boxes of one layer of a network, which the names of its
parameters tell, are a group. This module knows nodes and neither sizes nor places.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np

from ..node import Node, Parameter, Value, Version
from ..op import Op
from ..printing import formula, options
from ..states import states
from ..tape import Tape, as_value

MOST = 2000  # boxes in a picture
MANY = 500  # from so many on, layers are folded, too
PERIOD = 64  # ops, at most, in the piece of graph that is repeated


@dataclass(eq=False)
class Shown:
    """A box. kind: data, parameter, state, variable or op. nodes: what it stands for, several if it is folded.

    title and details: what is written in it. flow: what is written below it, the shape of what leaves it. name: of a
    parameter or state, with its path. tip: the whole truth, in a line.
    """

    kind: str
    nodes: list[Any]
    title: str = ""
    details: list[str] = field(default_factory=list)
    flow: str = ""
    name: str = ""
    tip: str = ""
    is_output: bool = False
    group: Group | None = None

    @property
    def folded(self) -> bool:
        return len(self.nodes) > 1


@dataclass(eq=False)
class Group:
    """A layer of a network, or a part that holds several: boxes and groups, in an order in which each points to later
    ones only."""

    path: str
    title: str
    outer: Group | None = None
    members: list[Shown | Group] = field(default_factory=list)


class Graph:
    """The boxes behind some outputs. `boxes`: all of them; `edges`: pairs of them, one for each use; `top`: the
    outermost group; `number`: the place of each node in the tape; `box_of`: the box of each node.

    fold: runs and repetitions of at least so many become one box; 0: nothing does. letters: what nodes are called that
    have no name, by their id.
    """

    def __init__(self, outputs: Sequence[Node], names: Mapping[str, Any], fold: int,
                 letters: Mapping[int, str] | None = None) -> None:
        self.tape = Tape(*outputs)
        self.fold = fold
        self.number = {node: i for i, node in enumerate(self.tape.nodes)}
        self.names = {**(letters or {}), **self._names(names)}
        self.paths = {x: self.name_of(x) for x in self.tape.leaves if isinstance(x, Version)}
        self._count_uses()
        ops = [node for node in self.tape.nodes if node.inputs]
        self.layer_of = self._layers() if len(self.paths) <= MOST else {}
        folded = self._folded(ops)
        if self.layer_of and len(ops) - sum(len(run) - 1 for run in folded) > MANY:
            folded = self._folded(ops, across=True)
        self._make_boxes(ops, folded)
        if len(self.boxes) > MOST:
            raise ValueError(f"this graph has {len(self.tape):,} nodes, in a picture {len(self.boxes):,} boxes, and "
                             f"more than {MOST:,} nobody can read: draw a part of it, or fewer repetitions")
        self._make_edges()
        self._describe()
        self._make_groups()

    # -------------------------------------------------------------------------------------------------------- names

    def _names(self, names: Mapping[str, Any]) -> dict[int, str]:
        """The names that the caller gave, by the id of the node or array."""
        found: dict[int, str] = {}
        for name, thing in names.items():
            if isinstance(thing, Node):
                keys = [id(as_value(thing))] if as_value(thing) in self.number else []
            elif isinstance(thing, np.ndarray | np.generic | list | float | int):
                keys = [id(x) for x in self._data() if _same(x, thing)]
            elif inner := states(thing):
                found |= {id(state.current()): ".".join(filter(None, (name, path))) for path, state in inner.items()}
                continue
            else:
                raise TypeError(f"names[{name!r}] is a {type(thing).__name__}: give a node, an array, or a model")
            if not keys:
                raise ValueError(f"names[{name!r}], of shape {np.shape(thing)}, is not in this graph")
            found |= dict.fromkeys(keys, name)
        return found

    def _data(self) -> Iterable[Any]:
        """Constants and plain arrays."""
        for x in self.tape.nodes:
            if type(x) is Value:
                yield x
            yield from (y for y in x.inputs if isinstance(y, np.ndarray))

    def name_of(self, x: Any) -> str:
        """What the caller, or the state itself, calls a node or array; empty if nobody does."""
        state = x.state() if isinstance(x, Version) else None
        return self.names.get(id(x)) or (state.name if state is not None and state.name else "")

    def _layers(self) -> dict[Any, tuple[str, ...]]:
        """For each state with a name that tells its layer the groups that it is in, the outermost first.

        `encoder.layers.0.W` is in `encoder` and in `encoder.layers.0`; W1 and b1 are in `layer 1`. What holds all
        of the states is no group.
        """
        found: dict[Any, tuple[str, ...]] = {}
        numbers = Counter(match[1] for path in self.paths.values() if (match := _NUMBERED.fullmatch(path)))
        for x, path in self.paths.items():
            parts = path.split(".")[:-1]
            prefixes = tuple(".".join(parts[:i]) for i in range(1, len(parts) + 1)
                             if i == len(parts) or not parts[i].isdigit())
            if (match := _NUMBERED.fullmatch(path)) and numbers[match[1]] > 1:
                prefixes = (f"layer {match[1]}",)
            if prefixes:
                found[x] = prefixes
        while found and len(found) == len(self.paths) and len({prefixes[:1] for prefixes in found.values()}) == 1:
            if not any(len(prefixes) > 1 for prefixes in found.values()):
                break
            found = {x: prefixes[1:] for x, prefixes in found.items() if prefixes[1:]}
        return found

    # ------------------------------------------------------------------------------------------------------ folding

    def _count_uses(self) -> None:
        self.uses: dict[Any, int] = defaultdict(int)
        for node in self.tape.nodes:
            for x in node.inputs:
                if isinstance(x, Value):
                    self.uses[x] += 1
        for node in self.tape.outputs:
            self.uses[node] += 2  # what is an output ends a run

    def _folded(self, ops: Sequence[Value], across: bool = False) -> list[list[Value]]:
        """Runs of ops that become one box each. across: also over layers that have names."""
        if not self.fold:
            return []
        spans = self._repetitions(ops, across)
        inside = {op for first, end in spans for op in ops[first:end]}
        runs = [[*ops[first:end]] for first, end in spans]
        run: list[Value] = []
        following: dict[Value, list[Value]] = {}
        for op in ops:
            if op in inside or not self._is_step(op):
                continue
            before = next(x for x in op.inputs if isinstance(x, Value))
            run = following.pop(before, [])
            if run and self.uses[before] > 1:
                following[before], run = run, []
            run.append(op)
            following[op] = run
        return runs + [run for run in following.values() if len(run) >= self.fold]

    @staticmethod
    def _is_step(op: Value) -> bool:
        """Whether it is elementwise, of one node and otherwise numbers."""
        return (isinstance(op, Op) and op.elementwise and sum(isinstance(x, Value) for x in op.inputs) == 1
                and all(isinstance(x, Value) or not is_drawn(x) for x in op.inputs))

    def _repetitions(self, ops: Sequence[Value], across: bool) -> list[tuple[int, int]]:
        """Where a piece of at most `PERIOD` ops follows itself `fold` times: pairs (first, end)."""
        place = {op: i for i, op in enumerate(ops)}
        keys: dict[Any, int] = {}
        ids = np.empty(len(ops), int)
        for i, op in enumerate(ops):
            key: list[Any] = [type(op), op.shape]
            for x in op.inputs:
                if not isinstance(x, Value):
                    key.append(x.shape if is_drawn(x) else ())
                elif x in place:
                    back = i - place[x]
                    key.append(back if back <= PERIOD else 0)
                else:
                    key.append((x.shape, None if across else self.layer_of.get(x)))
            ids[i] = keys.setdefault(tuple(key), len(keys))
        found: list[tuple[int, int]] = []
        free = np.ones(len(ops), bool)
        for period in range(1, min(PERIOD, len(ops) // self.fold) + 1):
            same = (ids[period:] == ids[:-period]) & free[period:] & free[:-period]
            borders = np.flatnonzero(np.diff(np.concatenate(([0], same.astype(np.int8), [0]))))
            for first, end in borders.reshape(-1, 2).tolist():
                for _ in range(min(period, first)):  # the first time, inputs may come from elsewhere
                    one, other = ops[first - 1], ops[first - 1 + period]
                    if not free[first - 1] or type(one) is not type(other) or one.shape != other.shape:
                        break
                    first -= 1
                count = (end - first) // period + 1
                if count >= self.fold and free[first:first + count * period].all():
                    found.append((first, first + count * period))
                    free[first:first + count * period] = False
        return sorted(found)

    # -------------------------------------------------------------------------------------------------------- boxes

    def _make_boxes(self, ops: Sequence[Value], folded: Sequence[Sequence[Value]]) -> None:
        self.box_of: dict[Any, Shown] = {}
        for run in folded:
            box = Shown("op", list(run))
            self.box_of |= dict.fromkeys(run, box)
        for op in ops:
            if op not in self.box_of:
                self.box_of[op] = Shown("op" if isinstance(op, Op) else "variable", [op])
        used_by: dict[Any, dict[Shown, None]] = defaultdict(dict)
        leaves: dict[Any, Any] = {id(x): x for x in self.tape.nodes if not x.inputs}
        for op in ops:
            for x in op.inputs:
                if is_drawn(x):
                    leaves.setdefault(id(x), x)
                    used_by[id(x)][self.box_of[op]] = None
        alike: dict[Any, list[Any]] = defaultdict(list)
        for key, x in leaves.items():
            if not (isinstance(x, Value) and x.inputs):
                users = used_by[key]
                alike[(*users, _kind(x), np.shape(x)) if len(users) == 1 else key].append(x)
        sources: dict[Any, Shown] = {}
        for group in alike.values():
            together = [group] if self.fold and len(group) >= self.fold else [[x] for x in group]
            for some in together:
                sources |= dict.fromkeys(map(id, some), Shown(_kind(some[0]), some))
        self._sources = sources
        for key, box in sources.items():
            if isinstance(leaves[key], Value):
                self.box_of[leaves[key]] = box
        self.boxes = [*dict.fromkeys([*sources.values(), *self.box_of.values()])]

    def _make_edges(self) -> None:
        edges: dict[tuple[Shown, Shown], int] = {}
        for box in self.boxes:
            for node in box.nodes:
                uses: dict[tuple[Shown, Shown], int] = defaultdict(int)
                for x in getattr(node, "inputs", ()):
                    if is_drawn(x):
                        source = self.box_of[x] if isinstance(x, Value) else self._sources[id(x)]
                        if source is not box:
                            uses[source, box] += 1
                for pair, count in uses.items():
                    single = not box.folded and not pair[0].folded
                    edges[pair] = max(edges.get(pair, 0), count if single else 1)
        self.edges = [pair for pair, count in edges.items() for _ in range(count)]

    def _describe(self) -> None:
        numbers = {node: f"%{i}" for node, i in self.number.items()}
        last = dict.fromkeys(self.tape.outputs)
        for box in self.boxes:
            node = box.nodes[-1]
            box.is_output = any(x in last for x in box.nodes if isinstance(x, Value))
            flows = {_flow(x) for x in box.nodes} if box.kind != "op" else {_flow(node)}
            box.flow = flows.pop() if len(flows) == 1 else ""
            if box.folded and box.kind == "op":
                self._describe_run(box)
            elif box.folded:
                plural = {"data": "arrays"}.get(box.kind, f"{box.kind}s")
                names = [name for x in box.nodes if (name := self.name_of(x))]
                box.title = f"{len(box.nodes):,} {plural}"
                box.details = [f"{names[0]} … {names[-1]}"] if names else []
                box.tip = ", ".join(names) or box.title
            elif isinstance(node, Op):
                box.title = self.names.get(id(node)) or type(node).__name__
                box.details = [type(node).__name__] * (id(node) in self.names) + _arguments(node)
                box.tip = f"{numbers[node]} = {formula(node, numbers)}: {_flow(node)}"
            else:
                box.name = self.name_of(node)
                box.title = box.name or box.kind
                prefix = f"{numbers[node]}: " if isinstance(node, Value) else ""
                box.tip = f"{prefix}{box.kind} {box.name}".strip() + f": {_flow(node)}"

    def _describe_run(self, box: Shown) -> None:
        """How many ops are folded, and what they are: the pattern that is repeated, or the names in order."""
        names = [type(node).__name__ for node in box.nodes]
        count = len(names)
        period = next(p for p in range(1, count + 1) if count % p == 0 and names == names[:p] * (count // p))
        if period < count:
            what = names[0] if period == 1 else f"{period} ops"
            box.title = f"{count // period:,} × {what}"
        else:
            box.title = f"{count:,} ops in a row"
        if period > 1:
            shown = names[:period] if period <= 6 else [*names[:3], "…", names[period - 1]]
            box.details = [", ".join(shown[i:i + 3]) for i in range(0, len(shown), 3)]
        box.tip = f"{box.title}: {', '.join(names[:period])}"

    # ------------------------------------------------------------------------------------------------------- groups

    def _make_groups(self) -> None:
        """Groups such that no line leaves one and comes back: what would need that is no group."""
        self.inputs_of: dict[Shown, list[Shown]] = defaultdict(list)
        self.users_of: dict[Shown, list[Shown]] = defaultdict(list)
        for source, box in dict.fromkeys(self.edges):
            self.inputs_of[box].append(source)
            self.users_of[source].append(box)
        paths: dict[Shown, tuple[str, ...]] = {}
        for box in self.boxes:
            own = {self.layer_of.get(x, ()) for x in box.nodes if isinstance(x, Version)}
            if len(own) == 1 and (prefixes := own.pop()):
                paths[box] = prefixes
        states = dict(paths)
        for box in self.boxes:  # of ops, each after its inputs
            direct = {states[x] for x in self.inputs_of[box] if x in states}
            if box.kind == "op" and (path := _common(direct) if direct else self._continued(box, paths)):
                paths[box] = path
        wanted = {prefixes[:i + 1] for prefixes in paths.values() for i in range(len(prefixes))}
        groups: dict[tuple[str, ...], set[Shown]] = {}
        for path in sorted(wanted, key=len):
            members = {box for box, prefixes in paths.items() if prefixes[:len(path)] == path}
            members |= self._reach(members, self.users_of) & self._reach(members, self.inputs_of)
            inside = all(_common([paths.get(box, ()), path]) in (path, paths.get(box, ())) for box in members)
            if inside and any(box.kind == "op" for box in members):
                groups[path] = members
                for box in members:
                    paths[box] = max(paths.get(box, ()), path, key=len)
        while not self._nest(groups):
            pass
        self.boxes = [*_flat(self.top)]

    def _continued(self, box: Shown, paths: Mapping[Shown, tuple[str, ...]]) -> tuple[str, ...]:
        """The layer that a box belongs to because all that it is made of does, and is used nowhere else: what merges
        several pieces of a layer, and what only changes the entries, such as an activation."""
        inputs = self.inputs_of[box]
        layers = {paths.get(x, ()) for x in inputs}
        if len(layers) != 1 or box.folded or any(len(self.users_of[x]) > 1 for x in inputs):
            return ()
        same = box.nodes[0].shape == inputs[0].nodes[-1].shape
        return layers.pop() if len(inputs) > 1 or same else ()

    @staticmethod
    def _reach(start: Iterable[Shown], to: Mapping[Shown, list[Shown]]) -> set[Shown]:
        found, stack = set(start), list(start)
        while stack:
            for box in to.get(stack.pop(), ()):
                if box not in found:
                    found.add(box)
                    stack.append(box)
        return found

    def _nest(self, groups: dict[tuple[str, ...], set[Shown]]) -> bool:
        """Put boxes into groups, sorted. False if some groups had to go, because lines lead from one to another and
        back."""
        self.top = Group("", "")
        made: dict[tuple[str, ...], Group] = {(): self.top}
        for box in self.boxes:
            box.group = self.top
        for path, members in groups.items():  # outer ones first
            outer = next(made[path[:i]] for i in reversed(range(len(path))) if path[:i] in made)
            made[path] = group = Group(path[-1], path[-1], outer)
            for box in members:
                box.group = group
        first = {box: self.number.get(box.nodes[0], -1) if isinstance(box.nodes[0], Value) else -1
                 for box in self.boxes}
        items: dict[Group, dict[Any, int]] = defaultdict(dict)
        for box in self.boxes:
            item: Any = box
            around: Group | None = box.group
            while around is not None:
                items[around][item] = max(items[around].get(item, -1), first[box])
                item, around = around, around.outer
        for group in made.values():
            if group not in items:
                continue
            left = self._sort(group, items[group])
            if left:
                for path in [path for path, g in made.items() if g in left]:
                    groups.pop(path, None)
                return False
        return True

    def _sort(self, group: Group, items: Mapping[Any, int]) -> set[Any]:
        """Sort the members of a group; returns those that cannot be sorted."""
        after: dict[Any, set[Any]] = {item: set() for item in items}
        waiting: dict[Any, int] = defaultdict(int)
        for source, box in dict.fromkeys(self.edges):
            a, b = _member(source, group), _member(box, group)
            if a is not None and b is not None and a is not b and b not in after[a]:
                after[a].add(b)
                waiting[b] += 1
        ready = [(place, i, item) for i, (item, place) in enumerate(items.items()) if not waiting[item]]
        order = {item: i for i, item in enumerate(items)}
        heapify(ready)
        group.members = []
        while ready:
            item = heappop(ready)[2]
            group.members.append(item)
            for b in after[item]:
                waiting[b] -= 1
                if not waiting[b]:
                    heappush(ready, (items[b], order[b], b))
        return set(items) - set(group.members)


_NUMBERED = re.compile(r"[^\W\d]+?_?(\d+)")


def _flat(group: Group) -> Iterable[Shown]:
    for member in group.members:
        yield from _flat(member) if isinstance(member, Group) else [member]


def is_drawn(x: Any) -> bool:
    """Whether an input of an op has a box: nodes and arrays, but not numbers."""
    return isinstance(x, Value) or (isinstance(x, np.ndarray) and x.ndim > 0)


def _kind(x: Any) -> str:
    if isinstance(x, Version):
        return "parameter" if isinstance(x.state(), Parameter) or x.needs_grad else "state"
    return "variable" if isinstance(x, Value) and x.needs_grad else "data"


def _arguments(op: Op) -> list[str]:
    """What an op was given beside arrays: numbers, with a dot for each array, and options."""
    numbers = ["·" if is_drawn(x) else f"{x:.6g}" for x in op.inputs]
    said = options(op) if {*numbers} <= {"·"} else [*numbers, *options(op)]
    return [f"({', '.join(said)})"] if said else []


def _flow(x: Any) -> str:
    """A shape, and the dtype unless it is the usual one."""
    return f"{np.shape(x)}" + (f" {x.dtype}" if x.dtype != np.float64 else "")


def _same(x: Any, thing: Any) -> bool:
    value = x._value if isinstance(x, Value) else x
    return x is thing or value is thing or (value.shape == np.shape(thing) and bool(np.array_equal(value, thing)))


def _common(paths: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """What all begin with."""
    first, *rest = paths
    count = 0
    while count < len(first) and all(path[:count + 1] == first[:count + 1] for path in rest):
        count += 1
    return first[:count]


def _member(box: Shown, group: Group) -> Any:
    """The member of a group that is, or holds, a box; None if it is outside."""
    item: Any = box
    around = box.group
    while around is not None:
        if around is group:
            return item
        item, around = around, around.outer
    return None
