"""Reports: what was checked, what came out, and what a failure looks like.

A `Report` is a list of verdicts, one for each claim about each input. It is true if all of them are good, prints as a
table, and raises for a test.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from ..files import write_atomically
from ..pages import MAIN, fragment, heat_map, page

GOOD = ("ok", "kink")
SHOWN = 4  # entries of a verdict that are printed
MANY = 12  # and that are in the tables of a page
MARKS = {"ok": "✓", "kink": "◇", "wrong": "✗", "undecided": "?"}


@dataclass(frozen=True)
class Entry:
    """One entry of a gradient: where it is, what is claimed, and between which values the truth lies, up to `error`."""

    index: tuple[int, ...]
    yours: float
    low: float
    high: float
    error: float
    status: str  # ok, kink, wrong, undecided

    @property
    def off(self) -> float:
        """How far it is outside of what it may be, with a sign: above 0 if it is too large."""
        if np.isnan(self.low + self.high + self.yours):
            return np.nan
        return max(self.yours - self.high, 0.0) - max(self.low - self.yours, 0.0)

    def __str__(self) -> str:
        place = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        bar = "" if self.error == 0 else f" ± {self.error:.1g}"
        if self.status == "kink" or self.low != self.high:
            where = "lies in" if self.status in GOOD else "does not lie in"
            return (f"{place} not differentiable here: slopes {self.low:.6g} and {self.high:.6g}{bar}, "
                    f"yours, {self.yours:.6g}, {where} [{self.low:.6g}, {self.high:.6g}]").strip()
        return f"{place} yours {self.yours:.10g}, numerical {self.low:.10g}{bar}".strip()


@dataclass(frozen=True)
class Verdict:
    """What came out for one claim about one input (or about all of them: `input` is then empty).

    status: "ok"; "kink", which is good too: the function is not differentiable there, and the gradient is one that it
    may have; "wrong"; or "undecided", where numbers do not tell, which is not a pass. entries: the worst ones.
    shape: that of the input.
    """

    claim: str
    status: str
    input: str = ""
    detail: str = ""
    entries: tuple[Entry, ...] = ()
    shape: tuple[int, ...] = ()

    @property
    def ok(self) -> bool:
        return self.status in GOOD


class GradientError(AssertionError):
    """A gradient is not what it claims to be."""


@dataclass
class Report:
    """The verdicts of a check. True if all is well; `print` it for a table, `.raise_if_failed()` in a test."""

    subject: str
    verdicts: list[Verdict] = field(default_factory=list)
    diagnosis: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether each verdict is good: nothing wrong, and nothing undecided."""
        return all(verdict.ok for verdict in self.verdicts)

    def __bool__(self) -> bool:
        return self.ok

    @property
    def failures(self) -> list[Verdict]:
        """The verdicts that are not good."""
        return [verdict for verdict in self.verdicts if not verdict.ok]

    def add(self, claim: str, status: str, input: str = "", detail: str = "", entries: Sequence[Entry] = (),
            shape: tuple[int, ...] = ()) -> None:
        self.verdicts.append(Verdict(claim, status, input, detail, tuple(entries), shape))

    def raise_if_failed(self) -> Report:
        """Raise `GradientError` with this table unless all is well; returns the report."""
        if not self.ok:
            raise GradientError(f"\n{self}")
        return self

    def _rows(self) -> list[tuple[str, str, str, str]]:
        return [(verdict.status.upper() if not verdict.ok else verdict.status, verdict.claim, verdict.input,
                 verdict.detail) for verdict in self.verdicts]

    def _head(self) -> str:
        bad = self.failures
        return f"{self.subject}: " + ("all is well" if not bad else ", ".join(
            f"{sum(v.status == status for v in bad)} {status}" for status in ("wrong", "undecided")
            if any(v.status == status for v in bad)))

    def __str__(self) -> str:
        head = self._head()
        rows = self._rows()
        widths = [max((len(row[k]) for row in rows), default=0) for k in range(3)]
        lines = [head, *[f"  note: {text}" for text in self.diagnosis]]
        for row, verdict in zip(rows, self.verdicts, strict=True):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
            lines.append(("  " + "  ".join([*cells, row[3]])).rstrip())
            shown = [entry for entry in verdict.entries if not verdict.ok or entry.status == "kink"]
            lines += [f"      {entry}" for entry in shown[:SHOWN]]
            lines += [f"      and {len(shown) - SHOWN} more"] * (len(shown) > SHOWN)
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The same for notebooks, with tables of the entries and pictures of where they are."""
        return fragment(self._html(2))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report as a page, to a file that must end in .html."""
        if not os.fspath(path).lower().endswith((".html", ".htm")):
            raise ValueError(f"a report is saved as .html, not as {os.fspath(path)!r}")
        body = f"<main>\n{self._html(1)}\n</main>"
        write_atomically(path, page(f"Report on {self.subject}", body, MAIN).encode())

    def _html(self, level: int) -> str:
        status = "ok" if self.ok else "wrong" if any(v.status == "wrong" for v in self.failures) else "undecided"
        head = escape(self._head().removeprefix(f"{self.subject}: "))
        lines = [f"<h{level}>{escape(self.subject)}</h{level}>",
                 f'<p><span class="tg-{status}">{MARKS[status]} {head}</span></p>',
                 *[f"<p><b>Note:</b> {escape(note)}</p>" for note in self.diagnosis],
                 '<div class="tg-wide"><table><thead><tr><th scope="col">verdict</th><th scope="col">claim</th>'
                 '<th scope="col">input</th><th scope="col">detail</th></tr></thead><tbody>']
        for verdict in self.verdicts:
            mark = f"{MARKS[verdict.status]} {verdict.status}"
            lines.append(f'<tr><td><span class="tg-{verdict.status}">{mark}</span></td>'
                         f"<td>{escape(verdict.claim)}</td><td>{escape(verdict.input)}</td>"
                         f"<td>{escape(verdict.detail)}</td></tr>")
        lines.append("</tbody></table></div>")
        return "\n".join([*lines, *(_entries_html(v) for v in self.verdicts if v.entries)])


_NUMBERS = "".join(f'<th scope="col" class="tg-number">{name}</th>'
                   for name in ("yours", "numerical", "error bar", "off by"))


def _entries_html(verdict: Verdict) -> str:
    """The worst entries of a verdict as a table, and where they are."""
    where = f"{verdict.claim}, {verdict.input}" if verdict.input else verdict.claim
    kinks = verdict.status == "kink"
    title = "Not differentiable there" if kinks else "Worst entries"
    rows = []
    for entry in verdict.entries[:MANY]:
        place = f"[{', '.join(map(str, entry.index))}]" if entry.index else ""
        smooth = entry.low == entry.high
        truth = f"{entry.low:.10g}" if smooth else f"slopes {entry.low:.6g} and {entry.high:.6g}"
        numbers = f"{entry.yours:.10g}", truth, f"{entry.error:.1g}", f"{entry.off:.3g}"
        rows.append(f"<tr><td>{place}</td>" + "".join(f'<td class="tg-number">{x}</td>' for x in numbers) + "</tr>")
    if len(verdict.entries) > MANY:
        rows.append(f'<tr><td colspan="5">and {len(verdict.entries) - MANY} more</td></tr>')
    table = (f'<div class="tg-wide"><table><thead><tr><th scope="col">entry</th>{_NUMBERS}</tr></thead>'
             f"<tbody>{''.join(rows)}</tbody></table></div>")
    picture = ""
    if verdict.shape and not kinks and all(len(entry.index) == len(verdict.shape) for entry in verdict.entries):
        errors = np.zeros(verdict.shape)
        for entry in verdict.entries:
            errors[entry.index] = entry.off
        picture = f"<p>By how much these entries are off, and where:</p>{heat_map(errors, 'errors')}"
    return (f'<details open><summary><b>{title}</b>: {escape(where)}</summary>'
            f'<div class="tg-side">{table}<div>{picture}</div></div></details>')
