"""A line chart as geometry for an SVG of our own: it takes the page's colours and fonts, light, dark or printed."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

WIDTH, HEIGHT = 420, 310
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 18, 12, 42
_MARKERS = (
    "M0,-3.6A3.6,3.6 0 1 1 0,3.6A3.6,3.6 0 1 1 0,-3.6Z",  # circle
    "M-3.2,-3.2H3.2V3.2H-3.2Z",  # square
    "M0,-4.2L4,3H-4Z",  # triangle
    "M0,-4.4L4.4,0L0,4.4L-4.4,0Z",  # diamond
    "M0,4.2L4,-3H-4Z",  # triangle upside down
    "M-1.3,-4H1.3V-1.3H4V1.3H1.3V4H-1.3V1.3H-4V-1.3H-1.3Z",  # plus
    "M-4,-1.3H4V1.3H-4Z",  # bar
)
_DASHES = {"solid": "", "dashed": "7 4", "dotted": "1.5 3.5"}
N_LOOKS = 7
INK = 6  # the look in the colour of the text


@dataclass(frozen=True)
class Look:
    """How a curve is drawn: colour and marker by ``number``, so that either tells it, and the kind of line."""

    number: int
    line: str = "solid"

    @property
    def color(self):
        return self.number % N_LOOKS

    @property
    def marker(self):
        return _MARKERS[(self.number + self.number // N_LOOKS) % len(_MARKERS)]

    @property
    def dashes(self):
        return _DASHES[self.line]


@dataclass
class Series:
    """A curve in units of the axes; ``band`` is None or ``(low, high)``, one each a point, and ``aside`` moves it so many pixels,
    so that bands of several curves do not lie upon each other.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    look: Look
    step: bool = False
    band: tuple = None
    aside: float = 0


@dataclass
class Chart:
    """Axes with curves. Rates on an axis are shares, and are written in percent."""

    title: str
    x_label: str
    y_label: str
    series: list
    alt: str
    x_range: tuple = (0, 1)
    y_range: tuple = (0, 1)
    x_ticks: list = field(default_factory=lambda: [(value / 100, str(value)) for value in (0, 20, 40, 60, 80, 100)])
    chance: bool = False  # a thin diagonal
    width, height = WIDTH, HEIGHT
    left, right, top, bottom = _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM

    @cached_property
    def grid_x(self):
        return [(self._x(value), text) for value, text in self.x_ticks]

    @cached_property
    def grid_y(self):
        low, high = self.y_range
        step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if (high - low) / step <= 6 or step == 0.2)
        values = np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step
        return [(self._y(value), f"{abs(100 * value):.0f}") for value in values]

    @property
    def diagonal(self):
        return f"M{self._x(0)},{self._y(0)}L{self._x(1)},{self._y(1)}" if self.chance else ""

    def line(self, one):
        """The curve as an SVG path."""
        x, y = self._points(one)
        return "M" + "L".join(f"{a},{b}" for a, b in zip(x, y, strict=True))

    def whiskers(self, one):
        """The band as an SVG path."""
        ends = zip(one.x, *one.band, strict=True)
        ends = [(round(self._x(x) + one.aside, 1), self._y(low), self._y(high)) for x, low, high in ends]
        return "".join(f"M{x - 2.5:.1f},{low}h5m-2.5,0V{high}m-2.5,0h5" for x, low, high in ends)

    def markers(self, one, place):
        """Where markers stand: on each of a few points, else on a few that other curves do not share."""
        if len(one.x) <= 8:
            return [(round(self._x(x) + one.aside, 1), self._y(y)) for x, y in zip(one.x, one.y, strict=True)]
        low, high = self.x_range
        at = low + (high - low) * (np.arange(4) * 0.25 + 0.06 + 0.031 * (place % 7))
        index = np.searchsorted(one.x, at, side="right") - 1
        at, index = at[index >= 0], index[index >= 0]
        if one.step:
            return list(zip(map(self._x, at), map(self._y, one.y[index]), strict=True))
        index = np.unique(index)
        return list(zip(map(self._x, one.x[index]), map(self._y, one.y[index]), strict=True))

    def _points(self, one):
        x, y = np.asarray(one.x, dtype=float), np.asarray(one.y, dtype=float)
        if one.step:  # each value holds up to the next x
            x, y = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]
        return [round(self._x(value) + one.aside, 1) for value in x], [self._y(value) for value in y]

    def _x(self, value):
        low, high = self.x_range
        return round(float(self.left + (self.right - self.left) * (value - low) / (high - low)), 1)

    def _y(self, value):
        low, high = self.y_range
        return round(float(self.bottom - (self.bottom - self.top) * (value - low) / (high - low)), 1)
