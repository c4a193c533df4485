"""Pages: the look that reports, histories and the stepper share, and heat maps of arrays.

A page is one file: its style and its script are in it, and nothing is fetched. It has a light and a dark form, of which
the reader's system chooses. This module knows arrays, and nothing of nodes.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from itertools import islice
from struct import pack
from typing import Any

import numpy as np

# Colours that stay apart for the colour-blind (Okabe & Ito): above 0 and below 0, fainter towards 0.
ABOVE, BELOW = "#D55E00", "#0072B2"
STRONGEST = 0.7  # of the colour, at the entry of largest magnitude: text on it can still be read
MARKED = "#CC79A7"  # an entry that is no number
INKS = {"light": ("#FFFFFF", "#15181C", "#5B6470", "#F1F4F8", "#C9D0D8"),  # paper, text, faint text, surface, border
        "dark": ("#14171B", "#F2F4F6", "#9AA4B0", "#1F242B", "#4A535E")}
ROWS, COLUMNS = 12, 8  # of numbers; a larger array is a picture
SQUARES = 48  # of a picture, in each direction
SLICES = 8  # of an array of more than two axes
NUMBERS = 96  # in all of them


def _colours(mode: str) -> str:
    names = ("paper", "ink", "faint", "surface", "border")
    return "".join(f"--tg-{name}:{colour};" for name, colour in zip(names, INKS[mode], strict=True))


STYLE = f"""
.tg{{{_colours("light")}--tg-accent:#0067A3;--tg-bad:#B3261E;
--tg-good:#0B6E4F;--tg-doubt:#7A5200;--tg-other:#B84E00;color-scheme:light dark;
color:var(--tg-ink);background:var(--tg-paper);font:15px/1.5 system-ui,Arial,Helvetica,sans-serif}}
@media (prefers-color-scheme:dark){{.tg{{{_colours("dark")}--tg-accent:#6CB8EC;--tg-bad:#FF9C8F;--tg-good:#5FD0A5;
--tg-doubt:#E8B84A;--tg-other:#F0A830}}}}
.tg table{{border-collapse:collapse;font-size:14px;color:inherit;background:none}}
.tg th,.tg td{{text-align:left;vertical-align:top;padding:.35em .8em;border:0;
border-bottom:1px solid var(--tg-border);background:none}}
.tg th{{font-weight:600;color:var(--tg-faint)}}
.tg .tg-wide{{overflow-x:auto}}
.tg .tg-number{{text-align:right;font-variant-numeric:tabular-nums}}
.tg .tg-side{{display:flex;flex-wrap:wrap;gap:1rem 2rem;margin:.5rem 0 1rem}}
.tg .tg-side>*{{min-width:0}}
.tg summary{{cursor:pointer;margin-top:.8rem}}
.tg .tg-ok,.tg .tg-kink,.tg .tg-wrong,.tg .tg-undecided{{font-weight:600;white-space:nowrap;color:var(--tg-good)}}
.tg .tg-kink{{color:var(--tg-accent)}}.tg .tg-wrong{{color:var(--tg-bad)}}.tg .tg-undecided{{color:var(--tg-doubt)}}
.tg .tg-chart{{font-size:11px;max-width:100%;height:auto}}
.tg .tg-chart text{{fill:var(--tg-ink)}}.tg .tg-chart .tg-name{{font-size:14px;font-weight:600}}
.tg .tg-chart .tg-grid{{stroke:var(--tg-border)}}.tg .tg-chart path{{fill:none;stroke-width:2}}
.tg .tg-chart .tg-line0{{stroke:var(--tg-accent)}}.tg .tg-chart .tg-line1{{stroke:var(--tg-other);stroke-dasharray:6 3}}
.tg .tg-chart circle{{fill:var(--tg-paper);stroke:var(--tg-ink);stroke-width:1.5}}
.tg figure.tg-heat{{margin:0;max-width:100%;overflow-x:auto}}
.tg .tg-heat table{{font:12px/1.3 ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace}}
.tg .tg-slices{{display:flex;flex-wrap:wrap;gap:4px 10px;align-items:flex-start}}
.tg .tg-heat td{{text-align:right;padding:.2em .45em;border:1px solid var(--tg-border)}}
.tg .tg-heat img{{display:inline-block;image-rendering:pixelated;border:1px solid var(--tg-border);max-width:none}}
.tg .tg-heat figcaption{{font-size:12px;color:var(--tg-faint);margin-top:.2em}}
.tg .tg-scale{{display:inline-block;width:5em;height:.7em;margin:0 .4em;vertical-align:baseline;
border:1px solid var(--tg-border);background:linear-gradient(90deg,{BELOW}B3,{BELOW}00 50%,{ABOVE}00 50%,{ABOVE}B3)}}
""".strip()

MAIN = "main{max-width:62rem;margin:0 auto;padding:1.5rem}"  # for a page of text


def page(title: str, body: str, style: str = "") -> str:
    """A whole page. title: plain text; body: HTML; style: more rules, in CSS."""
    return (f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f"<title>{escape(title)}</title>\n<style>\n{STYLE}\nbody{{margin:0}}\n{style}\n</style>\n</head>\n"
            f'<body class="tg">\n{body}\n</body>\n</html>\n')


def fragment(body: str) -> str:
    """A piece of a page with its style, for a notebook."""
    return (f'<div class="tg" style="padding: 0.6rem 0.8rem; border-radius: 6px"><style>{STYLE}</style>\n{body}\n'
            "</div>")


# ----------------------------------------------------------------------------------------------------------- charts

def chart(title: str, lines: Mapping[str, Sequence[float]], best: int = 0) -> str:
    """One or two lines by epoch, counted from 1, as an svg element. best: the epoch that is marked; 0: none."""
    width, height, left, right, top, bottom = 380.0, 250.0, 56.0, 14.0, 50.0, 36.0
    values = [y for line in lines.values() for y in line if np.isfinite(y)] or [0.0]
    last = max(2, *map(len, lines.values()))
    ticks = _ticks(min(values), max(values))
    low, high = min(ticks[0], *values), max(ticks[-1], *values)

    def at(epoch: float, y: float) -> str:
        return (f"{left + (epoch - 1) / (last - 1) * (width - left - right):.1f} "
                f"{height - bottom - (y - low) / (high - low) * (height - top - bottom):.1f}")

    parts = [f'<text class="tg-name" x="8" y="18">{escape(title)}</text>']
    for y in ticks:
        (x0, y0), (x1, _) = at(1, y).split(), at(last, y).split()
        parts.append(f'<path class="tg-grid" style="stroke-width:1" d="M{x0} {y0}H{x1}"/>'
                     f'<text x="{left - 6}" y="{float(y0) + 4:.1f}" text-anchor="end">{y:.4g}</text>')
    for x in _ticks(1, last):
        if x == int(x) and 1 <= x <= last:
            parts.append(f'<text x="{at(x, low).split()[0]}" y="{height - bottom + 16}" text-anchor="middle">{x:.0f}'
                         "</text>")
    parts.append(f'<text x="{width - right}" y="{height - 4}" text-anchor="end">epoch</text>')
    said, x = [], left
    for i, (name, line) in enumerate(lines.items()):
        pieces, pen = [], "M"
        for epoch, y in enumerate(line, 1):
            pieces.append(pen + at(epoch, y) if np.isfinite(y) else "")
            pen = "L" if np.isfinite(y) else "M"
        if len(line) == 1 and np.isfinite(line[0]):
            parts.append('<circle r="2" cx="{}" cy="{}"/>'.format(*at(1, line[0]).split()))
        parts.append(f'<path class="tg-line{i}" d="{"".join(pieces)}"/><path class="tg-line{i}" d="M{x} 34h22"/>'
                     f'<text x="{x + 27}" y="38">{escape(name)}</text>')
        x += 44 + 7 * len(name)
        said.append(f"{name} from {line[0]:.4g} to {line[-1]:.4g}" if line else name)
    if best and len(line := list(lines.values())[-1]) >= best and np.isfinite(line[best - 1]):
        cx, cy = at(best, line[best - 1]).split()
        parts.append(f'<circle r="4" cx="{cx}" cy="{cy}"/>'
                     f'<text x="{x}" y="38">○ best, {best}: {line[best - 1]:.4g}</text>')
        said.append(f"best in epoch {best}, {line[best - 1]:.4g}")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" class="tg-chart" role="img" width="{width:.0f}" '
            f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'aria-label="{escape(title)} by epoch: {escape("; ".join(said))}">{"".join(parts)}</svg>')


def _ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers, the first not above `low` and the last not below `high`."""
    if not high > low:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    rough = (high - low) / 4
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = int(np.floor(low / step + 1e-9)), int(np.ceil(high / step - 1e-9))
    return [float(step * i) for i in range(first, last + 1)]


# -------------------------------------------------------------------------------------------------------- heat maps

def heat_map(array: Any, name: str = "") -> str:
    """An array as a figure: numbers on a scale of colours if it is small, a picture if it is large.

    name: what it is, for readers who do not see it. Of several axes the last two are shown, a picture for each slice.
    """
    array = np.asarray(array)
    notes = [f"{array.shape} {array.dtype}" if array.dtype != float else f"{array.shape}"]
    if not array.size:
        return f'<figure class="tg-heat"><figcaption>{notes[0]}, no entries</figcaption></figure>'
    shown = np.abs(array) if array.dtype.kind == "c" else array.astype(float)
    finite = np.abs(shown[np.isfinite(shown)])
    largest = float(finite.max(initial=0))
    flat = array.reshape((1, *array.shape) if array.ndim == 1 else array.shape if array.ndim > 1 else (1, 1))
    slices = flat.reshape(-1, *flat.shape[-2:])
    values = shown.reshape(slices.shape)
    columns = ROWS if array.ndim < 2 else COLUMNS
    small = slices.shape[1] <= ROWS and slices.shape[2] <= columns
    count = min(len(slices), max(1, min(SLICES, NUMBERS // slices[0].size)) if small else SLICES)
    if len(slices) > 1:
        notes.append(f"the first {f'{count} ' if count > 1 else ''}of {len(slices)} slices" if count < len(slices)
                     else f"{len(slices)} slices, one for each index of the first "
                          f"{'axis' if array.ndim == 3 else f'{array.ndim - 2} axes'}")
    pieces = []
    for numbers, value in islice(zip(slices, values, strict=True), count):
        pieces.append(_table(numbers, value, largest) if small else _image(value, largest, name or "heat map", notes))
    if finite.size < array.size:
        notes.append(f"{array.size - finite.size} not finite")
    scale = f"{largest:.3g}"
    legend = f'-{scale}<span class="tg-scale" role="img" aria-label="to"></span>{scale}' if largest else "all 0"
    said = escape("; ".join(dict.fromkeys(notes)))
    return (f'<figure class="tg-heat"><div class="tg-slices">{"".join(pieces)}</div>'
            f"<figcaption>{said}; {legend}</figcaption></figure>")


def number(x: Any) -> str:
    """A number to three digits."""
    if isinstance(x, bool | np.bool_ | int | np.integer):
        return str(x)
    return f"{x:.3g}"


def _table(numbers: np.ndarray, values: np.ndarray, largest: float) -> str:
    rows = []
    for row, shades in zip(numbers, values, strict=True):
        cells = [f'<td style="background:{_shade(v, largest)}" title="{x!r}">{number(x)}</td>'
                 for x, v in zip(row.tolist(), shades.tolist(), strict=True)]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _shade(value: float, largest: float) -> str:
    if not np.isfinite(value):
        return MARKED
    part = abs(value) / largest if largest else 0.0
    return f"{ABOVE if value >= 0 else BELOW}{round(255 * STRONGEST * part):02X}"


def _image(values: np.ndarray, largest: float, name: str, notes: list[str]) -> str:
    """A picture, one square an entry; of an array that is too large one for each block of entries."""
    blocks = [-(-n // SQUARES) for n in values.shape]
    if max(blocks) > 1:
        notes.append(f"each square is the entry of largest magnitude of a block of {blocks[0]} × {blocks[1]}")
        values = _reduced(values, blocks)
    size = 8 if max(values.shape) <= 32 else 5
    height, width = (max(n * size, 12) for n in values.shape)
    low, high = (number(float(f(values))) for f in (np.min, np.max))
    return (f'<img width="{width}" height="{height}" alt="{escape(name)}, from {low} to {high}" '
            f'src="data:image/png;base64,{b64encode(_png(values, largest)).decode()}">')


def _reduced(values: np.ndarray, blocks: list[int]) -> np.ndarray:
    """Of each block the entry of largest magnitude; one that is no number wins."""
    weight = np.where(np.isnan(values), np.inf, np.abs(values))
    pad = [(0, -n % b) for n, b in zip(values.shape, blocks, strict=True)]
    tiles = [np.pad(x, pad, constant_values=fill) for x, fill in ((values, 0), (weight, -1))]
    rows, columns = (n // b for n, b in zip(tiles[0].shape, blocks, strict=True))
    tiles = [x.reshape(rows, blocks[0], columns, blocks[1]).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
             for x in tiles]
    return np.take_along_axis(tiles[0], tiles[1].argmax(-1)[..., None], -1)[..., 0]


def _png(values: np.ndarray, largest: float) -> bytes:
    """A PNG with a palette: index 0 for what is no number, then from far below 0 to far above, transparent at 0."""
    levels = np.arange(-127, 128)
    hues = [tuple(bytes.fromhex(colour[1:])) for colour in (BELOW, ABOVE)]
    palette = bytes.fromhex(MARKED[1:]) + b"".join(bytes(hues[int(level >= 0)]) for level in levels)
    alpha = b"\xff" + bytes(round(255 * STRONGEST * abs(int(level)) / 127) for level in levels)
    scaled = values / largest if largest else np.zeros(values.shape)
    index = np.where(np.isfinite(scaled), np.rint(np.nan_to_num(scaled, posinf=0, neginf=0) * 127) + 128, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in index.astype(np.uint8))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    header = pack(">IIBBBBB", values.shape[1], values.shape[0], 8, 3, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"PLTE", palette) + chunk(b"tRNS", alpha)
            + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))
