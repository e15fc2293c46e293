# SPDX-License-Identifier: Apache-2.0
"""Curves on two logarithmic axes, as SVG that reads on light and dark pages."""

import math

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 130, 20, 50
COLOURS = ("#2f7ed8", "#d9534f", "#3c9d5c", "#b07aa1")
GREY = "#888"


def _decades(values):
    """The powers of ten around them."""
    return math.floor(math.log10(min(values)) + 1e-9), math.ceil(math.log10(max(values)) - 1e-9)


def _power(exponent):
    return "10<tspan dy='-5' font-size='9'>%d</tspan>" % exponent


class _Axis:
    """From values to places: begin and end are where the first and the last decade stand."""

    def __init__(self, values, begin, end):
        self.low, self.high = _decades(values)
        self.high = max(self.high, self.low + 1)
        self._begin, self._step = begin, (end - begin) / (self.high - self.low)

    def place(self, value):
        return self._begin + (math.log10(value) - self.low) * self._step

    def marks(self):
        return [(exponent, self.place(10.0 ** exponent)) for exponent in range(self.low, self.high + 1)]


def _text(x, y, text, anchor="middle", colour=GREY, more=""):
    return "<text x='%.1f' y='%.1f' text-anchor='%s' fill='%s' %s>%s</text>" % (x, y, anchor, colour, more, text)


def _line(x1, y1, x2, y2, more):
    return "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='%s' %s/>" % (x1, y1, x2, y2, GREY, more)


def loglog(curves, x_title, y_title):
    """The SVG of {name: [(x, y), ...]}, all numbers above 0."""
    points = [point for curve in curves.values() for point in curve]
    x_axis = _Axis([x for x, _ in points], LEFT, WIDTH - RIGHT)
    y_axis = _Axis([y for _, y in points], HEIGHT - BOTTOM, TOP)
    parts = ["<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' font-family='sans-serif' font-size='12'>"
             % (WIDTH, HEIGHT)]
    for exponent, x in x_axis.marks():
        parts.append(_line(x, TOP, x, HEIGHT - BOTTOM, "stroke-opacity='0.25'"))
        parts.append(_text(x, HEIGHT - BOTTOM + 18, _power(exponent)))
    for exponent, y in y_axis.marks():
        parts.append(_line(LEFT, y, WIDTH - RIGHT, y, "stroke-opacity='0.25'"))
        parts.append(_text(LEFT - 8, y + 4, _power(exponent), "end"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_title))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(_text(18, middle, y_title, more="transform='rotate(-90 18 %.1f)'" % middle))
    for (name, curve), colour in zip(curves.items(), COLOURS):
        places = [(x_axis.place(x), y_axis.place(y)) for x, y in curve]
        parts.append("<polyline points='%s' fill='none' stroke='%s' stroke-width='2'/>"
                     % (" ".join("%.1f,%.1f" % place for place in places), colour))
        parts += ["<circle cx='%.1f' cy='%.1f' r='3' fill='%s'/>" % (*place, colour) for place in places]
        parts.append(_text(places[-1][0] + 8, places[-1][1] + 4, name, "start", colour))
    return "\n".join(parts + ["</svg>", ""])
