"""How every figure looks: greys and one accent, told apart by line style and marker too, so that print stays legible.

Figures are drawn on their own canvas and leave as SVG text; no window system and no global figure list is touched.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Array = np.ndarray
P = ParamSpec("P")

INK, GREY, DIM, PALE, WASH = "#1d252c", "#6b7680", "#a3adb5", "#c4cbd1", "#eef1f3"
ACCENT, ACCENT_PALE = "#0b5cad", "#a9c8e8"
WIDTH = 9.6
"""Width of a figure [inch]; the report scales it to the page."""

_RC: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: searchable, selectable, small
    "svg.hashsalt": "procmodel",  # the same figure gives the same bytes
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so the layout is the same everywhere
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "hatch.linewidth": 0.5,
    "hatch.color": PALE,
    "lines.linewidth": 1.2,
    "figure.facecolor": "white",
    "axes.axisbelow": True,
}


@dataclass(frozen=True, kw_only=True)
class Pen:
    """How one thing is drawn: it differs from the others in shade, dash and marker alike."""

    color: str
    dash: str | tuple[int, tuple[float, ...]]
    width: float
    marker: str

    def line(self) -> dict[str, Any]:
        """Keywords for a line."""
        return {"color": self.color, "linestyle": self.dash, "linewidth": self.width}


PENS = {
    "advice": Pen(color=ACCENT, dash="-", width=1.6, marker="o"),
    "operator": Pen(color=GREY, dash=(0, (4, 1.5)), width=1.1, marker="s"),
    "oracle": Pen(color=INK, dash=(0, (1, 1.2)), width=1.3, marker="^"),
    "hold": Pen(color=DIM, dash="-.", width=1.1, marker="D"),
    "model": Pen(color=ACCENT, dash="-", width=1.6, marker="o"),
    "arx": Pen(color=GREY, dash=(0, (4, 1.5)), width=1.1, marker="s"),
    "persistence": Pen(color=DIM, dash="-.", width=1.2, marker="D"),
    "truth": Pen(color=INK, dash=(0, (1, 1.2)), width=1.4, marker="^"),
    "linear": Pen(color=GREY, dash=(0, (4, 1.5)), width=1.1, marker="s"),
}
_OTHER = Pen(color=INK, dash=(0, (6, 1, 1, 1)), width=1.0, marker="v")


def pen(name: str) -> Pen:
    """The pen of a controller or forecaster; the same name looks the same in every figure."""
    return PENS.get(name.lower(), _OTHER)


def drawn(draw: Callable[P, Figure]) -> Callable[P, str]:
    """Turn a function that draws a figure into one that returns it as SVG text."""

    @functools.wraps(draw)
    def svg(*args: P.args, **kwargs: P.kwargs) -> str:
        with matplotlib.rc_context(_RC):
            figure = draw(*args, **kwargs)
            out = io.StringIO()
            figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        text = out.getvalue().replace(
            "'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif"
        )  # where it is not installed
        # Two figures on one page must not share ids: a clip path would be taken from the other.
        return _own_ids(text, draw.__name__.strip("_"))

    return svg


def _own_ids(svg: str, name: str) -> str:
    mark = f"{name}-{abs(_checksum(svg)):x}-"
    svg = re.sub(r'\bid="', f'id="{mark}', svg)
    svg = svg.replace("url(#", f"url(#{mark}")
    return re.sub(r'href="#', f'href="#{mark}', svg)


def _checksum(text: str) -> int:
    import zlib

    return zlib.crc32(text.encode())


def canvas(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of this size [inch] whose axes are laid out without overlap."""
    return Figure(figsize=(width, height), layout="constrained")


def label(name: str, unit: str) -> str:
    """Name with its unit in brackets; a bare number has the unit "-"."""
    return f"{name} [{unit if unit not in ('', '1') else '-'}]"


def strip(axes: Axes, text: str, note: str = "") -> None:
    """Name of the vertical axis, written level above it: long tag names stay readable."""
    axes.set_title(text)
    if note:
        axes.set_title(note, loc="right", color=GREY)
    axes.margins(x=0)
    axes.locator_params(axis="y", nbins=4)


def runs(flags: Array) -> Iterator[tuple[int, int]]:
    """Runs `[start, stop)` of true flags [T]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags, dtype=np.int8), [0]])))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def shade_gaps(axes: Axes, edges: Array, missing: Array) -> None:
    """Hatch the cells that hold nothing. `edges` [T + 1] are the cells' borders, `missing` [T]."""
    for start, stop in runs(missing):
        axes.axvspan(edges[start], edges[stop], facecolor=WASH, hatch="////", edgecolor=PALE, linewidth=0, zorder=0)


def shade_limits(axes: Axes, low: float | None, high: float | None) -> None:
    """Draw limits as lines and shade what lies beyond them, within what the axis shows."""
    bottom, top = axes.get_ylim()
    for at, outer in ((low, bottom), (high, top)):
        if at is None or not bottom <= at <= top:
            continue
        axes.axhline(at, color=INK, linewidth=0.7)
        axes.axhspan(at, outer, facecolor=WASH, hatch="\\\\\\\\", edgecolor=PALE, linewidth=0, zorder=0)
    axes.set_ylim(bottom, top)


def limit_words(low: float | None, high: float | None) -> str:
    """The limits as a remark beside the axis' name, where they hide no line; empty without any."""
    words = [f"{side} {at:g}" for side, at in (("low", low), ("high", high)) if at is not None]
    return f"limits: {', '.join(words)}" if words else ""


def cover(axes: Axes, *values: Array | float | None, pad: float = 0.08) -> None:
    """Let the vertical axis show all these values, with a margin around them."""
    flat = np.concatenate([np.ravel(np.asarray(v, dtype=float)) for v in values if v is not None])
    flat = flat[np.isfinite(flat)]
    if not flat.size:
        return
    low, high = float(flat.min()), float(flat.max())
    room = pad * (high - low) or 0.05 * max(abs(high), 1e-9)
    axes.set_ylim(low - room, high + room)


def duration(step: float, rows: int) -> tuple[float, str]:
    """Time unit that suits so many rows: seconds per unit and its name."""
    total = step * rows
    for seconds, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if total >= 3 * seconds:
            return seconds, name
    return 1.0, "s"
