"""Charts: valid SVG that shows every figure, tells them to who does not see, and is the same for the same figures."""

import re
from itertools import pairwise
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.charts import HEIGHT, WIDTH, drawn, line_chart, ratio_chart
from bench.results import Curve, Goal, Point, Promise, Results
from bench.svg import Scale, nice_step
from bench.table import Spread

SVG = "{http://www.w3.org/2000/svg}"
NAMES = st.text(st.characters(codec="utf-8", categories=["L", "P", "S"]), min_size=1)


@st.composite
def spreads(draw: st.DrawFn) -> Spread:
    least, middle, most = sorted(draw(st.tuples(*[st.floats(0, 1e7, allow_nan=False)] * 3)))
    return Spread(middle, least, most)


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    lines = draw(
        st.lists(
            st.text(st.characters(codec="utf-8", categories=["L", "P", "S"]), min_size=1),
            min_size=1,
            max_size=4,
            unique=True,
        )
    )
    sizes = draw(st.lists(st.integers(1, 10**7), min_size=1, max_size=7, unique=True))
    points = [Point(line, size, draw(spreads())) for size in sizes for line in lines]
    limit = draw(st.floats(0.1, 1e6))
    return Curve("name", "What it costs", "objects", "µs", points, [Promise(lines[0], "under", 1.0, limit, True)])


@given(curves())
def test_a_chart_is_valid_and_shows_every_figure_within_the_frame(curve: Curve) -> None:
    root = Xml.fromstring(line_chart(curve))
    circles = root.findall(f"{SVG}circle")
    assert len(circles) == len(curve.points)
    for circle in circles:
        assert 0 <= float(circle.attrib["cx"]) <= WIDTH
        assert 0 <= float(circle.attrib["cy"]) <= HEIGHT
    assert len(root.findall(f"{SVG}polyline")) == len({point.line for point in curve.points})


@given(curves())
def test_the_same_figures_give_the_same_bytes(curve: Curve) -> None:
    assert line_chart(curve) == line_chart(curve)


def a_curve() -> Curve:
    points = [
        Point(line, size, Spread(middle, middle * 0.9, middle * 1.1))
        for line, middle in (("GET", 50.0), ("PUT <new> & other", 400.0))
        for size in (1_000, 1_000_000)
    ]
    return Curve("objects", "GET & PUT", "objects", "µs", points, [Promise("GET", "under", 50.0, 600.0, True)])


def test_a_chart_tells_its_figures_and_promises_to_who_does_not_see_it() -> None:
    root = Xml.fromstring(line_chart(a_curve()))
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-labelledby"] == "title description"
    title, description = (root.find(f"{SVG}{name}") for name in ("title", "desc"))
    assert title is not None
    assert title.text == "GET & PUT"
    assert description is not None
    told = description.text or ""
    assert "PUT <new> & other: 400 (360-440) µs at 1,000 objects, 400 (360-440) µs at 1,000,000 objects" in told
    assert "GET: at most 50.0 µs (promised: 600). Held." in told


def test_a_larger_figure_stands_higher_and_a_larger_size_further_right() -> None:
    root = Xml.fromstring(line_chart(a_curve()))
    places = [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in root.findall(f"{SVG}circle")]
    (get_x, get_y), (get_far, _), (_, put_y), _ = places
    assert get_x < get_far
    assert put_y < get_y


def test_every_figure_has_a_whisker_from_least_to_most() -> None:
    root = Xml.fromstring(line_chart(a_curve()))
    whiskers = [line for line in root.findall(f"{SVG}line") if "whisker" in line.attrib["class"]]
    assert len(whiskers) == 3 * 4


def test_what_is_promised_is_a_line_at_its_height() -> None:
    root = Xml.fromstring(line_chart(a_curve()))
    (target,) = (line for line in root.findall(f"{SVG}line") if line.attrib["class"] == "target")
    assert target.attrib["y1"] == target.attrib["y2"]
    assert "promised: at most 600 µs" in [text.text for text in root.findall(f"{SVG}text")]


def test_names_at_the_ends_of_lines_that_meet_stand_apart() -> None:
    points = [Point(line, size, Spread(5.0, 5.0, 5.0)) for line in ("a", "b", "c") for size in (1, 10)]
    root = Xml.fromstring(line_chart(Curve("x", "x", "x", "ms", points)))
    heights = sorted(float(text.attrib["y"]) for text in root.findall(f"{SVG}text") if text.text in {"a", "b", "c"})
    assert all(second - first >= 15 for first, second in pairwise(heights))


def test_colours_are_of_both_grounds_and_nothing_is_fetched() -> None:
    text = line_chart(a_curve())
    assert "@media (prefers-color-scheme: dark)" in text
    assert re.findall(r"https?://[^\"<]+", text) == ["http://www.w3.org/2000/svg"]


def goal(middle: float, bound: float) -> Goal:
    return Goal("GET 1 KiB, native key", "nginx", "", bound, Spread(middle, middle * 0.8, middle * 1.2))


def test_a_ratio_is_a_bar_from_as_fast_with_a_whisker_and_a_mark_at_the_goal() -> None:
    root = Xml.fromstring(ratio_chart([goal(0.4, 0.5), goal(9.0, 8.0)]))
    slower, faster = root.findall(f"{SVG}rect")[1:]
    (as_fast,) = (float(text.attrib["x"]) for text in root.findall(f"{SVG}text") if text.text == "as fast")
    assert float(slower.attrib["x"]) + float(slower.attrib["width"]) == pytest.approx(as_fast, abs=0.2)
    assert float(faster.attrib["x"]) == pytest.approx(as_fast, abs=0.2)
    assert len([line for line in root.findall(f"{SVG}line") if line.attrib["class"] == "target"]) == 2


def test_a_goal_that_was_missed_says_so() -> None:
    texts = [text.text for text in Xml.fromstring(ratio_chart([goal(0.4, 0.5), goal(9.0, 8.0)])).findall(f"{SVG}text")]
    assert "0.40 (!)" in texts
    assert "9.00" in texts


def test_only_what_was_measured_is_drawn() -> None:
    costs = Goal("verify", "", "µs", 8.0, Spread(7.0, 6.0, 8.0), at_most=True)
    empty = Curve("empty", "Nothing", "objects", "ms", [])
    assert drawn(Results({}, False, "", goals=[costs], curves=[empty, a_curve()])).keys() == {"objects"}
    assert drawn(Results({}, False, "", goals=[goal(0.4, 0.5)])).keys() == {"ratios"}


def test_an_empty_chart_is_refused() -> None:
    with pytest.raises(ValueError, match="the curve empty has no figure"):
        line_chart(Curve("empty", "Nothing", "objects", "ms", []))
    with pytest.raises(ValueError, match="no ratio"):
        ratio_chart([])


@given(st.floats(1e-6, 1e9))
def test_steps_are_round_and_four_to_ten_fit(span: float) -> None:
    step = nice_step(span)
    assert 4 - 1e-6 <= span / step <= 10 + 1e-6
    assert f"{step:.0e}"[0] in "125"


@given(st.floats(0.1, 1e6), st.floats(1.01, 1e6))
def test_ticks_stand_within_their_scale(low: float, factor: float) -> None:
    for log in (True, False):
        scale = Scale(low, low * factor, 100, 500, log=log)
        assert all(99 <= scale(tick) <= 501 for tick in scale.ticks())
