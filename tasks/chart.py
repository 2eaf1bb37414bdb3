"""Small line charts as SVG: what a report shows in Prefect's UI. Drawn by hand, so that no plotting library is needed.

Numbers become floats here because a pixel is one; nothing is computed from them.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape

from trading.day import JAPAN

WIDTH, HEIGHT = 900, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 16, 40, 34
_MOST_POINTS = 900  # one a pixel
_COLOURS = ("#1a56db", "#d03801", "#057a55")

Point = tuple[datetime, float]


@dataclass(frozen=True)
class Mark:
    """A single event in a chart: a fill. `is_up` is drawn green and upwards (a buy), else red and downwards."""

    at: datetime
    value: float
    is_up: bool


def line_chart(
    title: str,
    begin: datetime,
    end: datetime,
    lines: Sequence[tuple[str, Sequence[Point]]],
    marks: Sequence[Mark] = (),
    *,
    from_zero: bool = False,
) -> str:
    """Draw named lines over the time from `begin` to `end` (axis in Japanese time) as one SVG document."""
    values = [value for _, points in lines for _, value in points] + [mark.value for mark in marks]
    low, high = _range(values, from_zero)
    inner_width, inner_height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def x(at: datetime) -> float:
        return _LEFT + inner_width * ((at - begin) / (end - begin))

    def y(value: float) -> float:
        return _TOP + inner_height * (1 - (value - low) / (high - low))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="15" fill="#111">{escape(title)}</text>',
    ]
    for step in range(5):
        value = low + (high - low) * step / 4
        label = _number(value, high - low)
        parts.append(
            f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>'
            f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end" fill="#555">{label}</text>'
        )
    parts += _hours(begin, end, x)
    for place, (name, points) in enumerate(lines):
        colour = _COLOURS[place % len(_COLOURS)]
        path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in thinned(points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        if len(points) == 1:
            parts.append(f'<circle cx="{x(points[0][0]):.1f}" cy="{y(points[0][1]):.1f}" r="2.5" fill="{colour}"/>')
        legend = WIDTH - _RIGHT - 130 * (len(lines) - place)
        parts.append(f'<text x="{legend}" y="20" fill="{colour}">{escape(name)}</text>')
    parts += [_mark(x(mark.at), y(mark.value), mark.is_up) for mark in marks]
    if not values:
        parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT / 2}" text-anchor="middle" fill="#777">nothing to show</text>')
    return "".join((*parts, "</svg>"))


def data_url(svg: str) -> str:
    """The picture as an address that holds it, for an image artifact: no file and no server is needed."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def thinned(points: Sequence[Point]) -> Sequence[Point]:
    """At most one point a pixel; of each group the one that is farthest from the point before, so that peaks stay."""
    if len(points) <= _MOST_POINTS:
        return points
    size = -(-len(points) // _MOST_POINTS)
    kept = [points[0]]
    for start in range(1, len(points), size):
        group = points[start : start + size]
        kept.append(max(group, key=lambda point: abs(point[1] - kept[-1][1])))
    return kept


def _range(values: Sequence[float], from_zero: bool) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    if from_zero:
        low = min(0.0, low)
    if high <= low:
        room = abs(high) * 0.001 or 1.0
        return (low, high + room) if from_zero else (low - room, high + room)
    return low, high


def _hours(begin: datetime, end: datetime, x: Callable[[datetime], float]) -> list[str]:
    hours = (end - begin) / timedelta(hours=1)
    step = timedelta(hours=round(hours / 8)) if hours >= 8 else timedelta(minutes=15 if hours <= 2 else 60)
    parts, at = [], begin
    while at <= end:
        label = f"{at.astimezone(JAPAN):%H:%M}"
        parts.append(f'<text x="{x(at):.1f}" y="{HEIGHT - 12}" text-anchor="middle" fill="#555">{label}</text>')
        at += step
    return parts


def _mark(x: float, y: float, is_up: bool) -> str:
    tip, colour = (-1, "#057a55") if is_up else (1, "#c81e1e")
    base = y - tip * 10
    return (
        f'<polygon points="{x:.1f},{y:.1f} {x - 5:.1f},{base:.1f} {x + 5:.1f},{base:.1f}" fill="{colour}" '
        'stroke="white" stroke-width="0.5"/>'
    )


def _number(value: float, span: float) -> str:
    digits = 0 if span >= 20 else 2 if span >= 0.2 else 4
    return f"{value:,.{digits}f}"
