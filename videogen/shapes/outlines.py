"""Signed distances to the outlines of the shapes, negative inside.

Each function takes `u` (right) and `v` (down) in float32, any equal shapes, in units of the
object's radius, and is exact near the outline, which is all that anti-aliasing needs. Star and
heart follow the closed forms of Inigo Quilez, "2D distance functions" (2019).
"""

from collections.abc import Callable

import numpy as np

# How far any outline reaches from its centre, in radii: upright along an axis, and turned.
UPRIGHT_REACH = 1.12
TURNED_REACH = 1.19

Outline = Callable[[np.ndarray, np.ndarray], np.ndarray]


def circle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A disc of radius 0.96."""
    return np.sqrt(u * u + v * v) - 0.96


def square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Half side 0.84."""
    return np.maximum(np.abs(u), np.abs(v)) - 0.84


def triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Equilateral, pointing up, corners at 1.12 from the centroid."""
    return np.maximum(v, 0.8660254 * np.abs(u) - 0.5 * v) - 0.56


def ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """From radius 0.48 to 1."""
    return np.abs(np.sqrt(u * u + v * v) - 0.74) - 0.26


def star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Five points, one up: tips at 1.12, notches at 0.5."""
    x, y = np.abs(u), -v
    for cos, sin in ((0.809016994, -0.587785252), (-0.809016994, -0.587785252)):
        fold = 2 * np.maximum(cos * x + sin * y, 0)
        x = x - fold * cos
        y = y - fold * sin
    # The notch lies a tenth of a turn from the tip; the edge joins the two.
    edge_x, edge_y = 0.5 * 0.587785252, 0.5 * 0.809016994 - 1.12
    length = float(np.hypot(edge_x, edge_y))
    return (np.abs(x) * -edge_y + (y - 1.12) * edge_x) / length


def cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A plus sign: arms of half width 0.32, 1 long."""
    x, y = np.abs(u), np.abs(v)
    return np.maximum(np.maximum(x, y) - 1.0, np.minimum(x, y) - 0.32)


def diamond(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A slim rhombus, 0.66 by 1.12, so that a turning square is never one."""
    a, b = 1 / 0.66, 1 / 1.12
    return (np.abs(u) * a + np.abs(v) * b - 1) / (a * a + b * b) ** 0.5


def heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Upright, about 2 wide, its centroid at the origin, so that it turns in place."""
    unit = 0.6
    x, y = np.abs(u) * unit, 0.6566 - v * unit
    lobe = np.sqrt((x - 0.25) ** 2 + (y - 0.75) ** 2) - 0.35355339
    along = 0.5 * np.maximum(x + y, 0)
    flank = np.sqrt(np.minimum(x * x + (y - 1) ** 2, (x - along) ** 2 + (y - along) ** 2))
    return np.where(x + y > 1, lobe, np.copysign(flank, x - y)) / unit


OUTLINES: dict[str, Outline] = {
    "circle": circle,
    "square": square,
    "triangle": triangle,
    "ring": ring,
    "star": star,
    "cross": cross,
    "diamond": diamond,
    "heart": heart,
}

ORDERS: dict[str, int] = {
    "circle": 0,
    "square": 4,
    "triangle": 3,
    "ring": 0,
    "star": 5,
    "cross": 4,
    "diamond": 2,
    "heart": 1,
}
"""Of rotational symmetry: turned by 1/n of a turn, a shape is the same; 0: turned in any way."""
