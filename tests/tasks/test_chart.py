"""The pictures of a report."""

import base64
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

from tasks.chart import HEIGHT, WIDTH, Mark, data_url, line_chart, thinned

BEGIN = datetime(2026, 11, 25, 15, tzinfo=UTC)
END = BEGIN + timedelta(hours=24)
SVG = "{http://www.w3.org/2000/svg}"


def test_a_chart_is_a_whole_document_inside_its_frame() -> None:
    points = [(BEGIN + timedelta(hours=hour), float(hour * hour)) for hour in range(25)]
    chart = ElementTree.fromstring(line_chart("a <title> & more", BEGIN, END, [("line", points)], [Mark(END, 3, True)]))
    (line,) = chart.iter(f"{SVG}polyline")
    places = [tuple(map(float, each.split(","))) for each in line.attrib["points"].split()]
    assert len(places) == 25 and all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in places)
    assert places[0][0] < places[-1][0] and places[0][1] > places[-1][1]  # later is right, more is up
    assert "a <title> & more" in [text.text for text in chart.iter(f"{SVG}text")]


def test_the_axis_is_in_japanese_time() -> None:
    chart = ElementTree.fromstring(line_chart("t", BEGIN, END, [("line", [(BEGIN, 1.0)])]))
    assert "00:00" in [text.text for text in chart.iter(f"{SVG}text")]


def test_a_chart_without_points_and_one_that_stands_still_are_drawn() -> None:
    assert "nothing to show" in line_chart("t", BEGIN, END, [("line", [])])
    ElementTree.fromstring(line_chart("t", BEGIN, END, [("line", [(BEGIN, 5.0), (END, 5.0)])], from_zero=True))


def test_a_peak_stays_when_points_are_left_out() -> None:
    points = [(BEGIN + timedelta(seconds=at), 1.0) for at in range(5000)]
    points[1234] = (points[1234][0], 99.0)
    kept = thinned(points)
    assert len(kept) <= 1000 and max(value for _, value in kept) == 99.0


def test_a_picture_travels_in_its_own_address() -> None:
    url = data_url("<svg/>")
    kind, _, text = url.partition(",")
    assert kind == "data:image/svg+xml;base64" and base64.b64decode(text) == b"<svg/>"
