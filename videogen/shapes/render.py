"""Draws scenes: flat colours, anti-aliased edges, any size, any stretch of time."""

import numpy as np

from videogen.shapes.camera import CameraSpec, View, view
from videogen.shapes.motion import TAU, StartsOver, Trajectory, trajectory
from videogen.shapes.outlines import OUTLINES, TURNED_REACH
from videogen.shapes.patterns import PATTERNS, PERIODS
from videogen.shapes.scene import ObjectSpec, Scene
from videogen.shapes.vocabulary import (
    COLOUR_RGB,
    GRADIENTS,
    PLAIN_BACKGROUND_RGB,
    TEXTURES,
    Texture,
)


def render(
    scene: Scene,
    num_frames: int,
    height: int = 64,
    width: int = 64,
    start_frame: int = 0,
    starts_over: StartsOver | None = None,
) -> np.ndarray:
    """Draw frames `start_frame` to `start_frame + num_frames - 1` of a scene.

    A frame depends on its absolute index alone, so a later start gives the tail of the longer clip,
    bit for bit.

    Returns:
        uint8 `[t h w c]`, RGB.
    """
    steps = np.arange(start_frame, start_frame + num_frames)
    seen = view(scene.camera, steps, starts_over)
    if scene.background in TEXTURES:
        frames = render_texture(TEXTURES[scene.background], seen, height, width)
    else:
        backdrop = render_background(scene.background, height, width)
        frames = np.repeat(backdrop[None], num_frames, axis=0)
    for spec in scene.objects:
        _draw(frames, spec, seen.of(trajectory(spec, steps, starts_over)))
    return frames


def render_background(name: str, height: int, width: int) -> np.ndarray:
    """A still backdrop by its name, uint8 `[h w c]`; textures as the camera first shows them."""
    if name in TEXTURES:
        still = view(CameraSpec(), np.zeros(1))
        return render_texture(TEXTURES[name], still, height, width)[0]
    if name in PLAIN_BACKGROUND_RGB:
        return np.full((height, width, 3), PLAIN_BACKGROUND_RGB[name], np.uint8)
    gradient = GRADIENTS[name]
    vertical = gradient.axis == "vertical"
    ramp = np.linspace(0, 1, height if vertical else width, dtype=np.float32)
    ramp = ramp[:, None, None] if vertical else ramp[None, :, None]
    start, end = np.array(gradient.start, np.float32), np.array(gradient.end, np.float32)
    line = (start + ramp * (end - start) + 0.5).astype(np.uint8)
    return np.broadcast_to(line, (height, width, 3))


def render_texture(texture: Texture, seen: View, height: int, width: int) -> np.ndarray:
    """A texture as the camera sees it, uint8 `[t h w c]`."""
    side = min(height, width)
    # Places in periods of the pattern, from the middle of the picture.
    across = ((np.arange(width) + 0.5) / width - 0.5) * width / side
    down = ((np.arange(height) + 0.5) / height - 0.5) * height / side
    u = (across / seen.scale[:, None] + seen.x[:, None] * width / side) * PERIODS
    v = down / seen.scale[:, None] * PERIODS
    softness = seen.scale[:, None, None] * side / PERIODS
    marks = PATTERNS[texture.pattern](u[:, None, :], v[:, :, None], softness)
    ground, mark = np.array(texture.ground, np.float32), np.array(texture.mark, np.float32)
    marks = np.broadcast_to(marks, (len(seen.x), height, width))
    return (ground + marks[..., None] * (mark - ground) + 0.5).astype(np.uint8)


def _draw(frames: np.ndarray, spec: ObjectSpec, path: Trajectory) -> None:
    """Blend an object into `frames` `[t h w c]`, touching only a box around it, on the torus."""
    num_frames, height, width, _ = frames.shape
    radius_px = spec.radius * min(height, width) * path.scale
    # Pixel (i, j) covers [i, i+1) x [j, j+1), so its centre is at +0.5.
    centre_y = path.y % 1 * height - 0.5
    centre_x = path.x % 1 * width - 0.5
    half = int(np.ceil(TURNED_REACH * radius_px.max())) + 2
    rows, dy = _box(centre_y, half, height)
    columns, dx = _box(centre_x, half, width)

    u = dx[:, None, :] / radius_px[:, None, None]
    v = dy[:, :, None] / radius_px[:, None, None]
    cos, sin = np.cos(TAU * path.angle)[:, None, None], np.sin(TAU * path.angle)[:, None, None]
    u, v = cos * u + sin * v, cos * v - sin * u
    distance_px = OUTLINES[spec.shape](u, v) * radius_px[:, None, None]
    coverage = np.clip(0.5 - distance_px, 0, 1)[..., None]

    where = (np.arange(num_frames)[:, None, None], rows[:, :, None], columns[:, None, :])
    under = frames[where].astype(np.float32)
    colour = np.array(COLOUR_RGB[spec.colour], np.float32)
    frames[where] = (under + coverage * (colour - under) + 0.5).astype(np.uint8)


def _box(centre: np.ndarray, half: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel indices `[t k]` about each centre `[t]` on a circle of `size`, and signed offsets."""
    count = min(2 * half + 1, size)
    low = np.floor(centre).astype(np.int64) - count // 2
    places = low[:, None] + np.arange(count)
    return places % size, (places - centre[:, None]).astype(np.float32)
