"""Drawing: an SVG of lines, dots and text, readable on light and dark ground, and the same for the same input.

Rule 1: nothing of the moment or the machine gets in: no date, no identifier, no font measured; figures are rounded.
Rule 2: colours are classes; one style sheet has them for both grounds (prefers-color-scheme, Media Queries 5).
Rule 3: a reader who does not see it has its title and a description (SVG 2, section 5.8; role `img`).
"""

import math
from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree as Xml

STYLE: Final = """
text { font: 13px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; } .faint { fill: #59636e; font-size: 12px; }
.end { text-anchor: end; } .middle { text-anchor: middle; }
.ground { fill: #ffffff; } .grid { stroke: #d1d9e0; } .axis { stroke: #59636e; }
.target { stroke: #bc4c00; stroke-width: 2; stroke-dasharray: 6 4; } .aim { fill: #bc4c00; font-size: 12px; }
.s0 { stroke: #0969da; fill: #0969da; } .s1 { stroke: #1a7f37; fill: #1a7f37; }
.s2 { stroke: #8250df; fill: #8250df; } .s3 { stroke: #9a6700; fill: #9a6700; }
polyline.curve { fill: none; stroke-width: 2.5; } .whisker { stroke-width: 1.5; }
text.s0, text.s1, text.s2, text.s3 { stroke: none; font-weight: 600; } rect.s0 { fill-opacity: 0.55; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; } .faint { fill: #9198a1; } .ground { fill: #0d1117; } .grid { stroke: #3d444d; }
.axis { stroke: #9198a1; } .target { stroke: #f0883e; } .aim { fill: #f0883e; }
.s0 { stroke: #4493f8; fill: #4493f8; } .s1 { stroke: #3fb950; fill: #3fb950; }
.s2 { stroke: #ab7df8; fill: #ab7df8; } .s3 { stroke: #d29922; fill: #d29922; }
}
"""
SERIES: Final = 4
"""How many lines have a colour of their own."""


class Scale:
    """Figures from `low` to `high` as places from `start` to `end`; `ticks` are round figures between them."""

    def __init__(self, low: float, high: float, start: float, end: float, *, log: bool) -> None:
        self.log = log
        self._low, self._high = (math.log10(low), math.log10(high)) if log else (low, high)
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        """The place of a figure."""
        at = math.log10(value) if self.log else value
        share = (at - self._low) / (self._high - self._low) if self._high > self._low else 0.5
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Powers of ten, or steps of 1, 2 or 5 of which four to nine fit."""
        if self.log:
            first, last = math.ceil(self._low - 1e-9), math.floor(self._high + 1e-9)
            return [10.0**power for power in range(first, last + 1)]
        step = nice_step(self._high - self._low)
        return [
            number * step for number in range(math.ceil(self._low / step), math.floor(self._high / step + 1e-9) + 1)
        ]


class Drawing:
    """One picture. Places are pixels from the upper left corner; `kind` is the class that gives the colour."""

    def __init__(self, width: int, height: int, title: str, description: str) -> None:
        size = {"width": str(width), "height": str(height), "viewBox": f"0 0 {width} {height}"}
        self._root = Xml.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", **size})
        self._root.set("aria-labelledby", "title description")
        self._add("title", id="title").text = title
        self._add("desc", id="description").text = description
        self._add("style").text = STYLE
        self._add("rect", width=width, height=height, **{"class": "ground"})
        self.text(16, 26, title, "title")

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """A straight line."""
        self._add("line", x1=x1, y1=y1, x2=x2, y2=y2, **{"class": kind})

    def curve(self, places: Sequence[tuple[float, float]], kind: str) -> None:
        """Straight lines from place to place."""
        self._add("polyline", points=" ".join(f"{_shown(x)},{_shown(y)}" for x, y in places), **{"class": kind})

    def dot(self, x: float, y: float, kind: str, label: str) -> None:
        """A point; `label` shows where the pointer rests on it."""
        Xml.SubElement(self._add("circle", cx=x, cy=y, r=4, **{"class": kind}), "title").text = label

    def bar(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """A filled rectangle."""
        self._add("rect", x=x, y=y, width=width, height=height, **{"class": kind})

    def text(self, x: float, y: float, what: str, kind: str) -> None:
        """Text whose base line begins, or with `end` ends, here."""
        self._add("text", x=x, y=y, **{"class": kind}).text = what

    def whole(self) -> str:
        """The file."""
        Xml.indent(self._root, " ")
        return Xml.tostring(self._root, "unicode") + "\n"

    def _add(self, name: str, **attributes: str | float) -> Xml.Element:
        shown = {key: value if isinstance(value, str) else _shown(value) for key, value in attributes.items()}
        return Xml.SubElement(self._root, name, shown)


def nice_step(span: float) -> float:
    """A round step (1, 2 or 5 times a power of ten) of which at least four fit into the span, and ten at most."""
    power = 10.0 ** math.floor(math.log10(span / 4))
    return next(step * power for step in (5.0, 2.0, 1.0) if step * power <= span / 4)


def _shown(place: float) -> str:
    return f"{place:.1f}".removesuffix(".0")
