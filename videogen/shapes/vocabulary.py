"""Names and colours of the shapes world, and the worlds built from them.

The order of the tuples is part of the held-out rule (`scene.is_held_out`): append, never reorder.
"""

from dataclasses import dataclass, replace

Rgb = tuple[int, int, int]

COLOUR_RGB: dict[str, Rgb] = {
    "red": (225, 30, 38),
    "green": (24, 184, 62),
    "blue": (34, 78, 240),
    "yellow": (252, 220, 24),
    "orange": (250, 132, 16),
    "purple": (142, 44, 206),
    "white": (246, 246, 246),
    "cyan": (26, 212, 230),
    "pink": (252, 134, 196),
    "brown": (150, 90, 42),
}
COLOURS: tuple[str, ...] = tuple(COLOUR_RGB)

SHAPES: tuple[str, ...] = (
    "circle",
    "square",
    "triangle",
    "ring",
    "star",
    "cross",
    "diamond",
    "heart",
)

MOTIONS: tuple[str, ...] = (
    "left",
    "right",
    "up",
    "down",
    "still",
    "grow",
    "shrink",
    "up-left",
    "up-right",
    "down-left",
    "down-right",
    "bounce",
    "orbit",
    "spin",
    "shake",
)

PLAIN_BACKGROUND_RGB: dict[str, Rgb] = {
    "black": (10, 10, 12),
    "gray": (72, 74, 78),
    "navy": (14, 22, 78),
    "maroon": (84, 14, 32),
    "teal": (8, 84, 92),
}


@dataclass(frozen=True)
class Gradient:
    """A linear blend from `start` to `end` along `axis`, "vertical" (down) or "horizontal"."""

    start: Rgb
    end: Rgb
    axis: str


GRADIENTS: dict[str, Gradient] = {
    "blue gradient": Gradient((8, 12, 48), (72, 112, 152), "vertical"),
    "sunset gradient": Gradient((40, 18, 84), (190, 102, 112), "vertical"),
    "forest gradient": Gradient((6, 28, 20), (84, 118, 84), "horizontal"),
    "steel gradient": Gradient((14, 14, 18), (112, 114, 128), "horizontal"),
}


@dataclass(frozen=True)
class Texture:
    """A soft pattern of two near colours that repeats three times over the shorter side.

    `pattern` is "dots", "stripes" (upright) or "checks". A moving camera shows on it.
    """

    ground: Rgb
    mark: Rgb
    pattern: str

    @property
    def tint(self) -> Rgb:
        """The colour half way, which the pattern stays within 25 levels (in RGB) of."""
        red, green, blue = ((a + b) // 2 for a, b in zip(self.ground, self.mark, strict=True))
        return red, green, blue


TEXTURES: dict[str, Texture] = {
    "dotted navy": Texture((12, 18, 70), (42, 48, 98), "dots"),
    "striped maroon": Texture((68, 8, 24), (96, 36, 50), "stripes"),
    "checkered gray": Texture((62, 64, 68), (90, 92, 96), "checks"),
}
PLAIN_BACKGROUNDS: tuple[str, ...] = tuple(PLAIN_BACKGROUND_RGB)
BACKGROUNDS: tuple[str, ...] = PLAIN_BACKGROUNDS + tuple(GRADIENTS) + tuple(TEXTURES)

CAMERAS: tuple[str, ...] = ("still", "pan left", "pan right", "zoom in", "zoom out")
# What objects do in front of a moving camera: nothing that would move them as the camera does.
AT_REST: frozenset[str] = frozenset({"still", "spin"})

# A spinning disc looks exactly like one at rest, so no scene asks for it.
ROUND_SHAPES: frozenset[str] = frozenset({"circle", "ring"})


@dataclass(frozen=True)
class World:
    """What `sample_scene` may draw from.

    Radii are fractions of the frame's shorter side; `pair_radius` is for two-object scenes. A
    `moving_camera_share` of the scenes of one object pans or zooms over a texture.
    """

    colours: tuple[str, ...]
    shapes: tuple[str, ...]
    motions: tuple[str, ...]
    backgrounds: tuple[str, ...]
    two_object_share: float
    radius: tuple[float, float]
    pair_radius: tuple[float, float]
    moving_camera_share: float = 0.0

    @property
    def cameras(self) -> tuple[str, ...]:
        """The cameras that its scenes have."""
        return CAMERAS if self.moving_camera_share else CAMERAS[:1]

    @property
    def textures(self) -> tuple[str, ...]:
        """Its textured backgrounds."""
        return tuple(name for name in self.backgrounds if name in TEXTURES)

    def combinations(self) -> tuple[tuple[str, str, str], ...]:
        """Every (colour, shape, motion) this world can show, in vocabulary order."""
        return tuple(
            (colour, shape, motion)
            for colour in self.colours
            for shape in self.shapes
            for motion in self.motions
            if not (motion == "spin" and shape in ROUND_SHAPES)
        )


_WIDE = World(
    colours=COLOURS,
    shapes=tuple(name for name in SHAPES if name != "star"),
    motions=MOTIONS,
    backgrounds=BACKGROUNDS,
    two_object_share=0.25,
    radius=(0.14, 0.22),
    pair_radius=(0.12, 0.15),
    moving_camera_share=0.2,
)

EVERYTHING: World = replace(_WIDE, shapes=SHAPES)
"""All names there are."""

WORLDS: dict[str, World] = {
    "narrow": World(
        colours=COLOURS[:8],
        shapes=SHAPES[:4],
        motions=MOTIONS[:7],
        backgrounds=(
            "black",
            "gray",
            "navy",
            "maroon",
            "blue gradient",
            "sunset gradient",
            "forest gradient",
        ),
        two_object_share=0.0,
        radius=(10 / 64, 14 / 64),
        pair_radius=(0.12, 0.15),
    ),
    # Stars are left out, so that a model can be taught them.
    "wide": _WIDE,
    "pairs": replace(_WIDE, two_object_share=1.0),
    "moving cameras": replace(_WIDE, two_object_share=0.0, moving_camera_share=1.0),
}
