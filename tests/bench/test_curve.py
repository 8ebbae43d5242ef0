"""A curve's arithmetic: what is flat, what is under a limit, and how that is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import results
from bench.curve import FLAT_MAX, Curve, curve_text, figure_text, spread_text
from bench.curves import NAMES, joined
from bench.report import CURVES as CURVES_FILE
from bench.report import FIGURES
from bench.results import Results
from bench.table import Spread

figures = st.floats(0.01, 1e6, allow_nan=False)


def curve_of(name: str = "objects", **lines: list[float]) -> Curve:
    """A curve with these medians at 1, 10, 100 and so on."""
    curve = Curve.of(name, "What it costs", "objects", "µs", tuple(lines))
    for power, values in enumerate(zip(*lines.values(), strict=True)):
        curve.measured(10**power, [Spread(value, value * 0.9, value * 1.1) for value in values])
    return curve


def one(value: float) -> Spread:
    return Spread.of([value])


def test_flat_is_judged_by_the_dearest_size_to_the_first() -> None:
    curve = curve_of(GET=[10.0, 14.0, 11.0])
    curve.expect_flat("GET")
    assert curve.promises[0].figure == pytest.approx(1.4)
    assert not curve.promises[0].held


@given(st.lists(figures, min_size=1, max_size=8))
def test_a_flat_promise_holds_where_no_size_is_dearer_than_allowed(medians: list[float]) -> None:
    curve = curve_of(GET=medians)
    curve.expect_flat("GET")
    assert curve.promises[0].held == all(median / medians[0] <= FLAT_MAX for median in medians)


@given(st.lists(figures, min_size=1, max_size=8), figures)
def test_a_limit_holds_where_every_size_keeps_it(medians: list[float], limit: float) -> None:
    curve = curve_of(GET=medians)
    curve.expect_under("GET", limit)
    assert curve.promises[0].held == all(median <= limit for median in medians)


def test_the_first_size_is_the_smallest_and_not_the_one_that_was_measured_first() -> None:
    curve = Curve.of("lists", "Lists", "objects", "ms", ("page",))
    curve.measured(1_000, [one(30.0)])
    curve.measured(10, [one(20.0)])
    curve.expect_flat("page")
    assert curve.promises[0].figure == pytest.approx(1.5)


def test_a_size_without_a_figure_has_a_dash_and_no_point() -> None:
    curve = Curve.of("lists", "Lists", "objects", "ms", ("first page", "later pages"), ("pages",))
    curve.measured(1_000, [one(3.0), None], "1")
    curve.measured(10_000, [one(3.0), one(2.5)], "10")
    assert curve.rows == [("1,000", "3.00", "-", "1"), ("10,000", "3.00", "2.50", "10")]
    assert [(point.line, point.x) for point in curve.points if point.line == "later pages"] == [("later pages", 10_000)]


def test_a_promise_about_a_line_that_was_not_measured_names_the_lines_there_are() -> None:
    with pytest.raises(ValueError, match=r"nothing was measured of 'PUT'; there is GET"):
        curve_of(GET=[1.0]).expect_flat("PUT")


def test_the_text_of_a_kept_curve_is_that_of_the_measured_one_with_its_promises() -> None:
    curve = curve_of(GET=[10.0, 20.0])
    curve.notes.append("Ten tell little.")
    curve.expect_flat("GET")
    curve.expect_under("GET", 30)
    text = curve_text(curve.result())
    assert text == curve.text()
    assert "Ten tell little." in text
    assert "- GET: flat, at most 2.00 times the first (promised: 1.25). **Not held.**" in text
    assert "- GET: at most 20.0 µs (promised: 30). Held." in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.00"),
        (0.0123, "0.012"),
        (0.5, "0.50"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.94, "99.9"),
        (1234.5, "1,234"),
    ],
)
def test_figures_have_about_three_digits_that_count(value: float, text: str) -> None:
    assert figure_text(value) == text


def test_one_round_is_told_as_one_figure() -> None:
    assert spread_text(one(5.0)) == "5.00"
    assert spread_text(Spread(5.0, 4.0, 6.0)) == "5.00 (4.00-6.00)"


def kept(*curves: Curve, quick: bool = False) -> Results:
    return Results({}, quick, "2026-11-22T00:00:00+00:00", curves=[curve.result() for curve in curves])


def test_a_curve_that_was_measured_again_replaces_the_one_before_and_others_stay() -> None:
    before = kept(curve_of("lag", GET=[1.0]), curve_of("objects", GET=[1.0]))
    after = joined(before, kept(curve_of("objects", GET=[2.0])))
    assert [curve.name for curve in after.curves] == ["objects", "lag"]
    assert after.curves[0].points[0].value.middle == 2.0


@pytest.mark.parametrize(("before", "new", "quick"), [(True, False, True), (False, True, True), (False, False, False)])
def test_figures_are_quick_where_any_of_them_are(before: bool, new: bool, quick: bool) -> None:
    assert (
        joined(kept(curve_of("lag", A=[1.0]), quick=before), kept(curve_of("idle", A=[1.0]), quick=new)).quick is quick
    )


def test_all_measured_again_in_full_is_no_longer_quick() -> None:
    assert not joined(kept(curve_of("lag", A=[1.0]), quick=True), kept(curve_of("lag", A=[1.0]))).quick


def test_every_curve_that_is_kept_is_one_that_can_be_measured_again() -> None:
    for curve in results.read(FIGURES / CURVES_FILE).curves:
        assert curve.name in NAMES
        assert curve.points
