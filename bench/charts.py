"""Charts: the ratios and the curves of a results file as SVG, drawn from its figures alone.

Rule 1: every figure of a curve is shown, its median as a dot, least and most as a whisker.
Rule 2: where something is promised, the picture says so: a dashed line, or a mark on each bar.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Final

from bench.curve import FLAT, UNDER, figure_text, promise_text, spread_text
from bench.results import Curve, Goal, Point, Results
from bench.svg import SERIES, Drawing, Scale

WIDTH: Final = 760
HEIGHT: Final = 360
TOP: Final = 48
BOTTOM: Final = 56
LEFT: Final = 72
LETTER: Final = 8
"""What a letter of a line's name takes at most, on average."""
ROW: Final = 40
NAMES: Final = 330
"""What the names of bars have room for."""
RATIOS: Final = "ratios"
LABEL_GAP: Final = 16


def drawn(results: Results) -> dict[str, str]:
    """Every chart there are figures for, by the name of its file."""
    pictures = {curve.name: line_chart(curve) for curve in results.curves if curve.points}
    if goals := [goal for goal in results.goals if not goal.unit and not goal.at_most]:
        pictures[RATIOS] = ratio_chart(goals)
    return pictures


# --- curves ------------------------------------------------------------------------------------------


def line_chart(curve: Curve) -> str:
    """A curve, its sizes on a logarithmic axis. Raises ValueError where it has no point."""
    lines = _lines(curve)
    drawing = Drawing(WIDTH, HEIGHT, curve.title, _described(curve, lines))
    sizes = [point.x for point in curve.points]
    limits = {promise.limit for promise in curve.promises if promise.promise == UNDER}
    most = max(chain((point.value.most for point in curve.points), limits)) or 1.0
    right = WIDTH - 40 - LETTER * min(30, max(map(len, lines)))  # what is right of it are the names of the lines
    across = Scale(min(sizes), max(sizes), LEFT + 12, right, log=True)
    up = Scale(0, most * 1.06, HEIGHT - BOTTOM, TOP, log=False)
    _frame(drawing, across, up, curve, right + 12)
    for limit in sorted(limits):
        drawing.line(LEFT, up(limit), right + 12, up(limit), "target")
        drawing.text(LEFT + 6, up(limit) - 5, f"promised: at most {limit:g} {curve.unit}", "aim")
    for number, points in enumerate(lines.values()):
        _line(drawing, across, up, points, number)
    ends = {line: up(points[-1].value.middle) for line, points in lines.items()}
    for line, place in _apart(ends).items():
        kind = f"s{list(lines).index(line) % SERIES}"
        drawing.text(right + 20, place + 4, line, kind)
    return drawing.whole()


def _lines(curve: Curve) -> dict[str, list[Point]]:
    """Its points by line, from the smallest size on."""
    lines: dict[str, list[Point]] = {}
    for point in sorted(curve.points, key=lambda point: point.x):
        lines.setdefault(point.line, []).append(point)
    if not lines:
        raise ValueError(f"the curve {curve.name} has no figure")
    return {line: lines[line] for line in dict.fromkeys(point.line for point in curve.points)}


def _described(curve: Curve, lines: dict[str, list[Point]]) -> str:
    """All figures in words, then what is promised."""
    told = [
        f"{line}: "
        + ", ".join(f"{spread_text(point.value)} {curve.unit} at {point.x:,} {curve.along}" for point in points)
        for line, points in lines.items()
    ]
    told += [promise_text(promise, curve.unit).replace("*", "").rstrip(".") for promise in curve.promises]
    return ". ".join(told) + "."


def _frame(drawing: Drawing, across: Scale, up: Scale, curve: Curve, right: float) -> None:
    for tick in up.ticks():
        drawing.line(LEFT, up(tick), right, up(tick), "grid")
        drawing.text(LEFT - 8, up(tick) + 4, f"{tick:,g}", "faint end")
    for size in sorted({point.x for point in curve.points}):
        drawing.line(across(size), HEIGHT - BOTTOM, across(size), HEIGHT - BOTTOM + 5, "axis")
        drawing.text(across(size), HEIGHT - BOTTOM + 20, f"{size:,}", "faint middle")
    drawing.line(LEFT, HEIGHT - BOTTOM, right, HEIGHT - BOTTOM, "axis")
    flat = any(promise.promise == FLAT for promise in curve.promises)
    drawing.text((LEFT + right) / 2, HEIGHT - 12, f"{curve.along}{'; promised: flat' if flat else ''}", "faint middle")
    drawing.text(16, 43, curve.unit, "faint")


def _line(drawing: Drawing, across: Scale, up: Scale, points: Sequence[Point], number: int) -> None:
    kind = f"s{number % SERIES}"
    drawing.curve([(across(point.x), up(point.value.middle)) for point in points], f"{kind} curve")
    for point in points:
        x, value = across(point.x), point.value
        if value.least < value.most:
            _whisker(drawing, x, up(value.least), up(value.most), kind)
        drawing.dot(x, up(value.middle), kind, f"{point.line}, {point.x:,}: {spread_text(value)}")


def _whisker(drawing: Drawing, x: float, low: float, high: float, kind: str) -> None:
    drawing.line(x, low, x, high, f"{kind} whisker")
    for end in (low, high):
        drawing.line(x - 4, end, x + 4, end, f"{kind} whisker")


def _apart(places: dict[str, float]) -> dict[str, float]:
    """The same in their order, none so near another that their text would touch; the lowest stays within the frame."""
    moved: dict[str, float] = {}
    last = 0.0
    for line, place in sorted(places.items(), key=lambda item: item[1]):
        last = moved[line] = max(place, last + LABEL_GAP) if moved else place
    beyond = max(0.0, last - (HEIGHT - BOTTOM))
    return {line: place - beyond for line, place in moved.items()}


# --- ratios ------------------------------------------------------------------------------------------


def ratio_chart(goals: Sequence[Goal]) -> str:
    """A bar for each goal, from "as fast" to the ratio, with a mark at what is promised. Raises ValueError for none."""
    if not goals:
        raise ValueError("there is no ratio to draw")
    height = TOP + 24 + ROW * len(goals) + 40
    drawing = Drawing(WIDTH, height, "valetstore to others, same run, same machine", _told(goals))
    figures = [*chain.from_iterable((goal.measured.least, goal.measured.most, goal.bound) for goal in goals), 1.0]
    across = Scale(min(figures) * 0.8, max(figures) * 1.15, NAMES, WIDTH - 70, log=True)
    for tick in _ratio_ticks(min(figures) * 0.8, max(figures) * 1.15):
        drawing.line(across(tick), TOP + 14, across(tick), height - 40, "axis" if tick == 1 else "grid")
        drawing.text(across(tick), height - 22, f"{tick:g}", "faint middle")
    drawing.text(across(1.0), TOP + 8, "as fast", "faint middle")
    for number, goal in enumerate(goals):
        _bar(drawing, across, goal, TOP + 24 + ROW * number)
    drawing.text(NAMES, height - 6, "bar: median of the rounds; whisker: least and most; dashed: promised", "faint")
    return drawing.whole()


def _bar(drawing: Drawing, across: Scale, goal: Goal, top: float) -> None:
    middle, value = top + 14, goal.measured
    drawing.text(NAMES - 14, middle - 1, goal.what, "end")
    drawing.text(NAMES - 14, middle + 13, f"to {goal.against}", "faint end")
    start, end = sorted((across(1.0), across(value.middle)))
    drawing.bar(start, top + 4, max(1.0, end - start), 20, "s0")
    drawing.line(across(value.least), middle, across(value.most), middle, "axis")
    for end in (value.least, value.most):
        drawing.line(across(end), middle - 4, across(end), middle + 4, "axis")
    drawing.line(across(goal.bound), top, across(goal.bound), top + 28, "target")
    drawing.text(WIDTH - 60, middle + 4, f"{figure_text(value.middle)}{'' if goal.met else ' (!)'}", "")


def _ratio_ticks(low: float, high: float) -> list[float]:
    """Powers of two: a ratio of two is as far from one as a half."""
    return [2.0**power for power in range(-8, 9) if low <= 2.0**power <= high]


def _told(goals: Sequence[Goal]) -> str:
    return " ".join(
        f"{goal.what} to {goal.against}: {spread_text(goal.measured)}, promised {goal.bound:g}: "
        f"{'met' if goal.met else 'not met'}."
        for goal in goals
    )
