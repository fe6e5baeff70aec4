"""The words of the captions: every way to name a colour, a shape, a motion or a background."""

from videogen.shapes.vocabulary import BACKGROUNDS, COLOURS

COLOUR_WORDS: dict[str, tuple[str, ...]] = {name: (name,) for name in COLOURS} | {
    "purple": ("purple", "violet"),
    "cyan": ("cyan", "aqua"),
    "red": ("red", "scarlet"),
}

SHAPE_WORDS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "ball", "disc"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "ring": ("ring", "donut", "hoop"),
    "star": ("star",),
    "cross": ("cross", "plus sign"),
    "diamond": ("diamond", "rhombus"),
    "heart": ("heart",),
}
NO_SHAPE_WORDS: tuple[str, ...] = ("shape", "object", "thing")

BACKGROUND_WORDS: dict[str, tuple[str, ...]] = {name: (name,) for name in BACKGROUNDS} | {
    "gray": ("gray", "grey"),
    "navy": ("navy", "dark blue"),
    "maroon": ("maroon", "dark red"),
    "steel gradient": ("steel gradient", "gray gradient", "grey gradient"),
    "forest gradient": ("forest gradient", "green gradient"),
    "dotted navy": ("dotted navy", "spotted navy", "dotted dark blue"),
    "striped maroon": ("striped maroon", "striped dark red"),
    "checkered gray": ("checkered gray", "checkered grey", "chequered grey"),
}

# After a comma; the canonical first. A camera at rest is not mentioned.
CAMERA_WORDS: dict[str, tuple[str, ...]] = {
    "pan left": ("camera panning left", "the camera pans left", "camera panning to the left"),
    "pan right": ("camera panning right", "the camera pans right", "camera panning to the right"),
    "zoom in": ("camera zooming in", "the camera zooms in"),
    "zoom out": ("camera zooming out", "the camera zooms out"),
}

_VERBS: tuple[tuple[str, str], ...] = (
    ("moving", "moves"),
    ("sliding", "slides"),
    ("drifting", "drifts"),
    ("gliding", "glides"),
    ("traveling", "travels"),
    ("travelling", "travels"),
)
_COURSES: dict[str, tuple[str, ...]] = {
    "left": ("left", "to the left", "leftwards"),
    "right": ("right", "to the right", "rightwards"),
    "up": ("up", "upwards"),
    "down": ("down", "downwards"),
    "up-left": ("up and to the left", "towards the upper left", "diagonally up and left"),
    "up-right": ("up and to the right", "towards the upper right", "diagonally up and right"),
    "down-left": ("down and to the left", "towards the lower left", "diagonally down and left"),
    "down-right": ("down and to the right", "towards the lower right", "diagonally down and right"),
}

# Pairs: after a noun ("a ball growing"), and as its verb ("a ball grows"); the canonical first.
MOTION_WORDS: dict[str, tuple[tuple[str, str], ...]] = {
    motion: tuple(
        (f"{ing} {course}", f"{verb} {course}") for course in courses for ing, verb in _VERBS
    )
    for motion, courses in _COURSES.items()
} | {
    "still": (
        ("staying still", "stays still"),
        ("standing still", "stands still"),
        ("not moving", "does not move"),
        ("resting in place", "rests in place"),
    ),
    "grow": (("growing", "grows"), ("getting bigger", "gets bigger"), ("expanding", "expands")),
    "shrink": (
        ("shrinking", "shrinks"),
        ("getting smaller", "gets smaller"),
        ("contracting", "contracts"),
    ),
    "bounce": (
        ("bouncing", "bounces"),
        ("bouncing up and down", "bounces up and down"),
        ("hopping", "hops"),
    ),
    "orbit": (("orbiting", "orbits"), ("going round and round", "goes round and round")),
    "spin": (
        ("spinning", "spins"),
        ("rotating", "rotates"),
        ("turning in place", "turns in place"),
    ),
    "shake": (("shaking", "shakes"), ("trembling", "trembles"), ("vibrating", "vibrates")),
}

# `{}` is a background phrase without its article.
BACKGROUND_FRAMES: tuple[str, ...] = (
    "on a {} background",
    "against a {} background",
    "in front of a {} backdrop",
    "over a {} background",
)
BACKGROUND_TAILS: tuple[str, ...] = (", {} background", ", {} backdrop")
OPENINGS: tuple[str, ...] = (
    "a video of ",
    "a small video of ",
    "a short clip of ",
    "an animation of ",
    "a clip showing ",
)
