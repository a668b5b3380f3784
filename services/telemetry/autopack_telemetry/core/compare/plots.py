"""Pictures of a comparison as inline SVG: every pair's effect, and how the interval narrowed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from autopack_telemetry.core.compare.analysis import Comparison, CumulativeEffect
from autopack_telemetry.core.compare.model import Metric, Scale
from autopack_telemetry.core.compare.wording import effect_words
from autopack_telemetry.core.plural import counted

__all__ = ["cumulative_plot", "pairs_plot"]

WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 14, 40
NAMED_DOTS = 500
"""Pairs up to which each dot is an element that tells its task; beyond it all dots are one path."""
POINTS = 400
"""Of a curve: more than the pixels that it has."""


def pairs_plot(result: Comparison) -> str:
    """The effects of all pairs in the order of their size, with the mean and its interval; empty without pairs."""
    rows = sorted((row.effect, row.pair.task) for row in result.pairs if row.effect is not None)
    if not rows:
        return ""
    primary, metric = result.primary, result.design.primary
    values = [effect for effect, _ in rows]
    interval = primary.interval
    y = _scale(metric, [*values, *((interval.low, interval.high) if interval else ())])
    x = _across(0, len(rows) + 1)
    parts = []
    if interval:
        top, bottom = y.at(interval.high), y.at(interval.low)
        area = f'x="{LEFT}" y="{top:.1f}" width="{WIDTH - LEFT - RIGHT}" height="{max(1.0, bottom - top):.1f}"'
        parts.append(f'<rect class="band" {area}/>')
    if primary.effect is not None:
        parts.append(_line("mean", y.at(primary.effect)))
    points = [(x(place), y.at(effect), effect, task) for place, (effect, task) in enumerate(rows, start=1)]
    if len(points) <= NAMED_DOTS:
        parts += [
            f'<circle class="dot" cx="{across:.1f}" cy="{down:.1f}" r="3.5"><title>{escape(task)}: '
            f"{effect_words(metric, effect)}</title></circle>"
            for across, down, effect, task in points
        ]
    else:
        path = "".join(f"M{across:.1f} {down:.1f}h0" for across, down, _, _ in points)
        parts.append(f'<path class="dots" d="{path}"/>')
    fewer = sum(effect < y.nothing for effect in values)
    description = f"{counted(len(values), 'pair')}; in {fewer} the treatment used less {metric.words} than the control."
    return _svg("pairs", f"Effect on {metric.words} in each pair", description, y, "pairs, by effect", parts)


def cumulative_plot(result: Comparison) -> str:
    """The effect and its interval after each pair; empty if there were too few pairs."""
    items = _thinned(result.cumulative)
    if not items:
        return ""
    metric = result.design.primary
    y = _scale(metric, [value for item in items for value in (item.interval.low, item.interval.high)])
    x = _across(items[0].pairs - 1, items[-1].pairs + 1)
    upper = [f"{x(item.pairs):.1f} {y.at(item.interval.high):.1f}" for item in items]
    lower = [f"{x(item.pairs):.1f} {y.at(item.interval.low):.1f}" for item in reversed(items)]
    middle = [f"{x(item.pairs):.1f} {y.at(item.effect):.1f}" for item in items]
    parts = [f'<path class="band" d="M{" L".join(upper + lower)}Z"/>', f'<path class="mean" d="M{" L".join(middle)}"/>']
    first, last = items[0].pairs, items[-1].pairs
    parts.append(_text(x(first), HEIGHT - BOTTOM + 16, str(first), "middle"))
    if last > first:
        parts.append(_text(x(last), HEIGHT - BOTTOM + 16, str(last), "middle"))
    end = items[-1]
    description = (
        f"After {counted(end.pairs, 'pair')} the effect is {effect_words(metric, end.effect)}, interval "
        f"{effect_words(metric, end.interval.low)} to {effect_words(metric, end.interval.high)}."
    )
    return _svg("cumulative", f"Effect on {metric.words} after each pair", description, y, "pairs", parts)


class _Scale:
    """Where a value lies on the vertical axis; logarithmic for ratios."""

    def __init__(self, metric: Metric, values: Sequence[float]) -> None:
        self.metric = metric
        self.nothing = 1.0 if metric.scale is Scale.RATIO else 0.0
        self._onto: Callable[[float], float] = math.log if metric.scale is Scale.RATIO else float
        placed = [self._onto(value) for value in (*values, self.nothing)]
        low, high = min(placed), max(placed)
        edge = 0.06 * (high - low) or 0.1
        self.low, self.high = low - edge, high + edge

    def at(self, value: float) -> float:
        """Pixels from the top."""
        share = (self._onto(value) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def ticks(self) -> list[float]:
        """A few round values within."""
        if self.metric.scale is Scale.DIFFERENCE:
            return _round_steps(self.low, self.high)
        decades = range(math.floor(self.low / math.log(10)), math.ceil(self.high / math.log(10)) + 1)
        for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
            ticks = [step * 10.0**decade for decade in decades for step in steps]
            inside = [tick for tick in ticks if self.low <= math.log(tick) <= self.high]
            if len(inside) >= 4:
                return inside[:: math.ceil(len(inside) / 9)]
        return _round_steps(math.exp(self.low), math.exp(self.high))


def _scale(metric: Metric, values: Sequence[float]) -> _Scale:
    return _Scale(metric, values)


def _round_steps(low: float, high: float) -> list[float]:
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    return [
        count * step for count in range(math.ceil(low / step), math.floor(high / step) + 1) if count * step or low < 0
    ]


def _across(low: float, high: float) -> Callable[[float], float]:
    return lambda value: LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def _thinned(items: Sequence[CumulativeEffect]) -> list[CumulativeEffect]:
    if len(items) <= POINTS:
        return list(items)
    return [items[round(place * (len(items) - 1) / (POINTS - 1))] for place in range(POINTS)]


def _line(kind: str, down: float) -> str:
    return f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down:.1f}" y2="{down:.1f}"/>'


def _text(across: float, down: float, text: str, anchor: str) -> str:
    return f'<text x="{across:.1f}" y="{down:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(name: str, title: str, description: str, y: _Scale, axis: str, parts: Sequence[str]) -> str:
    grid = []
    for tick in y.ticks():
        grid.append(_line("grid", y.at(tick)))
        label = f"x{tick:.3g}" if y.metric.scale is Scale.RATIO else f"{tick:+.3g}"
        grid.append(_text(LEFT - 8, y.at(tick) + 4, label, "end"))
    axes = [_line("nothing", y.at(y.nothing)), _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, axis, "middle")]
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
        f"{''.join(grid)}{''.join(axes)}{''.join(parts)}</svg>"
    )
