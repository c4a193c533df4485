"""Buffers: which results of straight-line code may share memory.

Here are steps that write one value and read others, and the size or kind of each value; nothing of what is computed.
A value is anything hashable that stands for an array with memory of its own: who has views resolves them first.
`owners` lets a step write over an operand that is read for the last time, `lifetimes` says how long memory is needed,
and then `pooled` hands on arrays of one kind from value to value, or `arena` places values in one block of bytes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Interval = tuple[int, int]  # the first step that needs the memory, and the last


@dataclass(frozen=True)
class Step:
    """One step: the value it writes (None: it only reads), those it reads, and of these the ones whose memory the
    result may take, the best first."""

    writes: Hashable
    reads: Iterable[Hashable] = ()
    overwrites: Sequence[Hashable] = ()


def owners(steps: Sequence[Step], kinds: Mapping[Hashable, Hashable],
           held: Iterable[Hashable] = ()) -> dict[Hashable, Hashable]:
    """For each value the one in whose memory it is: a step takes over an operand of the same kind that no later step
    reads. Values that are `held` stay to the end.

    >>> steps = [Step("Z"), Step("A", ["Z"], ["Z"]), Step("B", ["A"]), Step("C", ["A", "B"], ["A", "B"])]
    >>> owners(steps, dict.fromkeys("ZABC", "float64"))
    {'Z': 'Z', 'A': 'Z', 'B': 'B', 'C': 'Z'}
    """
    last = _last_reads(steps, held)
    owner: dict[Hashable, Hashable] = {}
    for n, step in enumerate(steps):
        if step.writes is not None:
            dying = [x for x in step.overwrites if x in owner and last[x] == n and kinds[x] == kinds[step.writes]]
            owner[step.writes] = owner[dying[0]] if dying else step.writes
    return owner


def lifetimes(steps: Sequence[Step], owner: Mapping[Hashable, Hashable],
              held: Iterable[Hashable] = ()) -> dict[Hashable, Interval]:
    """For each owner the first and the last step that need its memory."""
    last = _last_reads(steps, held)
    found: dict[Hashable, Interval] = {}
    for n, step in enumerate(steps):
        if step.writes is not None:
            mine = owner[step.writes]
            start, end = found.get(mine, (n, n))
            found[mine] = start, max(end, n, last.get(step.writes, n))
    return found


def _last_reads(steps: Sequence[Step], held: Iterable[Hashable]) -> dict[Hashable, int]:
    last = {x: n for n, step in enumerate(steps) for x in step.reads}
    return {**last, **dict.fromkeys(held, len(steps))}


def pooled(kinds: Mapping[Hashable, Hashable], intervals: Mapping[Hashable, Interval]) -> dict[Hashable, Hashable]:
    """For each value the one whose memory it is given: the first of its kind, handed on when nobody needs it.

    >>> pooled(dict.fromkeys("abc", 8), {"a": (0, 2), "b": (1, 4), "c": (3, 5)})
    {'a': 'a', 'b': 'b', 'c': 'a'}
    """
    free: dict[Hashable, list[tuple[int, Hashable]]] = {}  # by kind: until when each is needed
    given: dict[Hashable, Hashable] = {}
    for x, (start, end) in sorted(intervals.items(), key=lambda item: item[1][0]):
        of_kind = free.setdefault(kinds[x], [])
        k = bisect_left(of_kind, start, key=lambda pair: pair[0])
        given[x] = of_kind.pop(k - 1)[1] if k else x  # the one given back last: its memory is warm
        insort(of_kind, (end, given[x]), key=lambda pair: pair[0])
    return given


def arena(sizes: Mapping[Any, int], intervals: Mapping[Any, Interval],
          alignment: int = 64) -> tuple[dict[Any, int], int]:
    """Places in one block of memory for values needed from one step to another: (offset of each, bytes in all).

    Values whose intervals share a step do not overlap. The largest come first, each at the lowest place that is free
    while it is needed.

    >>> arena({"a": 100, "b": 64, "c": 60}, {"a": (0, 2), "b": (1, 4), "c": (3, 5)})
    ({'a': 0, 'b': 128, 'c': 0}, 192)
    """
    if len(intervals) > MANY:
        return _swept(sizes, intervals, alignment)
    offsets: dict[Hashable, int] = {}
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first step, last step
    for x in sorted(intervals, key=lambda x: -sizes[x]):
        start, end = intervals[x]
        length, offset = -(-sizes[x] // alignment) * alignment, 0
        for low, high, *_ in sorted(p for p in placed if p[2] <= end and start <= p[3]):
            if offset + length <= low:
                break
            offset = max(offset, high)
        offsets[x] = offset
        if length:
            placed.append((offset, offset + length, start, end))
    return offsets, max((end for _, end, *_ in placed), default=0)


MANY = 500  # values from which on places are found in one sweep over the steps: in less time, if not as close together


def _swept(sizes: Mapping[Any, int], intervals: Mapping[Any, Interval],
           alignment: int) -> tuple[dict[Any, int], int]:
    """`arena`, from the first step to the last: each value takes the smallest hole that is large enough, where memory
    was given back, or grows the block."""
    events = sorted((time, kind, n, x) for n, (x, (start, end)) in enumerate(intervals.items()) if sizes[x]
                    for time, kind in ((start, 1), (end + 1, 0)))  # what ends before a step is free in it
    offsets: dict[Hashable, int] = dict.fromkeys((x for x in intervals if not sizes[x]), 0)
    holes: list[Interval] = []  # (length, offset), the shortest first
    starts: dict[int, int] = {}  # the same holes, length by offset, and offset by end
    ends: dict[int, int] = {}
    total = 0

    def take(offset: int) -> int:
        length = starts.pop(offset)
        del ends[offset + length]
        del holes[bisect_left(holes, (length, offset))]
        return length

    def give(offset: int, length: int) -> None:
        starts[offset], ends[offset + length] = length, offset
        insort(holes, (length, offset))

    for _, begins, _, x in events:
        length = -(-sizes[x] // alignment) * alignment
        if begins:
            if (k := bisect_left(holes, (length, 0))) < len(holes):
                offset = holes[k][1]
                if (rest := take(offset) - length) > 0:
                    give(offset + length, rest)
            else:
                offset = ends.get(total, total)  # the hole at the end grows
                if offset < total:
                    take(offset)
                total = offset + length
            offsets[x] = offset
        else:
            offset = offsets[x]
            if offset + length in starts:
                length += take(offset + length)
            if offset in ends:
                offset = ends[offset]
                length += take(offset)
            give(offset, length)
    return offsets, total
