"""Reports: what was checked, what came out, and what a failure looks like.

A `Report` is a list of verdicts, one for each claim about each input. It is true if all of them are good, prints as a
table, and raises for a test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

GOOD = ("ok", "kink")
SHOWN = 4  # entries of a verdict that are printed


@dataclass(frozen=True)
class Entry:
    """One entry of a gradient: where it is, what is claimed, and between which values the truth lies, up to `error`."""

    index: tuple[int, ...]
    yours: float
    low: float
    high: float
    error: float
    status: str  # ok, kink, wrong, undecided

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
    """

    claim: str
    status: str
    input: str = ""
    detail: str = ""
    entries: tuple[Entry, ...] = ()

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

    def add(self, claim: str, status: str, input: str = "", detail: str = "", entries: Sequence[Entry] = ()) -> None:
        self.verdicts.append(Verdict(claim, status, input, detail, tuple(entries)))

    def raise_if_failed(self) -> Report:
        """Raise `GradientError` with this table unless all is well; returns the report."""
        if not self.ok:
            raise GradientError(f"\n{self}")
        return self

    def _rows(self) -> list[tuple[str, str, str, str]]:
        return [(verdict.status.upper() if not verdict.ok else verdict.status, verdict.claim, verdict.input,
                 verdict.detail) for verdict in self.verdicts]

    def __str__(self) -> str:
        bad = self.failures
        head = f"{self.subject}: " + ("all is well" if not bad else ", ".join(
            f"{sum(v.status == status for v in bad)} {status}" for status in ("wrong", "undecided")
            if any(v.status == status for v in bad)))
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
        """The same as a table for notebooks."""
        lines = [f"<p><b>{escape(str(self).splitlines()[0])}</b></p>", *[f"<p>{escape(x)}</p>" for x in self.diagnosis],
                 "<table><tr><th>verdict</th><th>claim</th><th>input</th><th></th></tr>"]
        for row, verdict in zip(self._rows(), self.verdicts, strict=True):
            entries = "<br>".join(escape(str(entry)) for entry in verdict.entries if not verdict.ok)
            cells = [*map(escape, row[:3]), f"{escape(row[3])}<br>{entries}" if entries else escape(row[3])]
            lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
        return "\n".join([*lines, "</table>"])
