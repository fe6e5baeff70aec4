"""What `measure_long.py` measures of a clip, and how it is summed up over clips."""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen.shapes.backdrop import read_backdrop
from videogen.shapes.judge import agrees, judge
from videogen.shapes.motion import DIRECTIONS
from videogen.shapes.motion_fit import follow
from videogen.shapes.scene import Scene
from videogen.shapes.segmentation import find_segments
from videogen.shapes.vocabulary import WORLDS

NARROW = WORLDS["narrow"]
MOVING = 0.25
"""Share of the speed of the first second under which an object counts as standing still."""
SAME = 0.5
"""Mean difference of two frames, in units of uint8, under which they count as the same."""


def read_over_time(
    frames: np.ndarray, seams: list[int], scene: Scene, fps: float
) -> dict[str, Any]:
    """What the judge reads in every second of frames `t h w c`, and the pixels at the seams."""
    second = round(fps)
    starts = [*range(0, len(frames) - second, second), len(frames) - second]
    seconds = [read_second(frames[start : start + second], scene) for start in starts]
    return {
        "motion": scene.objects[0].motion,
        "times_s": [start / fps for start in starts],
        "seconds": seconds,
        "seam": seam(frames, seams),
    }


def read_second(frames: np.ndarray, scene: Scene) -> dict[str, Any]:
    reading = judge(frames, NARROW)
    verdict = agrees(reading, scene)
    step = np.abs(np.diff(frames.astype(np.float32), axis=0)).mean(axis=(1, 2, 3))
    luma = frames.astype(np.float32).mean(axis=-1)
    return {
        "colour": reading.colour,
        "shape": reading.shape,
        "background": reading.background,
        "colour_ok": verdict["colour"],
        "shape_ok": verdict["shape"],
        "background_ok": verdict["background"],
        **speed(frames),
        "same": float((step < SAME).mean()),
        "brightness": float(luma.mean()),
        "contrast": float(luma.std()),
        "sharpness": float(np.log(laplacian(luma).var() + 1e-6)),
    }


def speed(frames: np.ndarray) -> dict[str, float]:
    """Of the object: mean velocity in frame sides per frame, and doublings of the radius."""
    pixels = frames.astype(np.float32)
    backdrop = read_backdrop(pixels, NARROW.backgrounds)
    segments = find_segments(pixels, backdrop.image, NARROW.colours, 1)
    track = follow(segments[0].coverage) if segments else None
    if track is None:
        return {"vx": 0.0, "vy": 0.0, "growth": 0.0, "radius": 0.0}
    span = track.frames[-1] - track.frames[0]
    vx, vy, growth = (track.signals[:, -1] - track.signals[:, 0]) / span
    radius = float(np.sqrt(np.median(track.area_px) / np.pi))
    return {"vx": float(vx), "vy": float(vy), "growth": float(growth), "radius": radius}


def laplacian(luma: np.ndarray) -> np.ndarray:
    inner = luma[:, 1:-1, 1:-1]
    return (
        luma[:, :-2, 1:-1] + luma[:, 2:, 1:-1] + luma[:, 1:-1, :-2] + luma[:, 1:-1, 2:] - 4 * inner
    )


def seam(frames: np.ndarray, seams: list[int]) -> dict[str, float]:
    """Size of the second difference of frames at the seams, and away from them.

    At a seam: the two second differences that span it. Away: all others, and those alone that span
    the first frame of a latent frame, as a seam does.
    """
    pixels = frames.astype(np.float32)
    second = np.abs(pixels[2:] - 2 * pixels[1:-1] + pixels[:-2]).mean(axis=(1, 2, 3))
    place = np.arange(1, len(frames) - 1)  # the middle frame of each
    first = np.array([start for start in seams if start > 0])
    at = np.isin(place, np.concatenate([first, first - 1])) if len(first) else place < 0
    phases = {start % 4 for start in first} | {(start - 1) % 4 for start in first}
    alike = np.isin(place % 4, [*phases]) & ~at
    return {
        "at": float(second[at].mean()) if at.any() else float("nan"),
        "away": float(second[~at].mean()),
        "away_alike": float(second[alike].mean()) if alike.any() else float("nan"),
    }


def summarise(clips: list[dict[str, Any]]) -> dict[str, Any]:
    """Rates over clips, and the curve over time."""
    going = [clip for clip in clips if clip["motion"] in DIRECTIONS]
    seams = [clip["seam"] for clip in clips]
    summary = {
        "clips": len(clips),
        "seconds_per_clip": round(float(np.mean([clip["took_s"] for clip in clips])), 1),
        "last_as_prompt": share(clips, lambda c: right(c, -1)),
        "last_as_first": share(clips, lambda c: alike(c, 0, -1)),
        "all_seconds_as_prompt": share(clips, all_right),
        "last_background": share(clips, lambda c: c["seconds"][-1]["background_ok"]),
        "moving_at_the_end": share(going, lambda c: moves(c, -1)),
        "moving_always": share(going, lambda c: all(moves(c, i) for i in range(len(c["seconds"])))),
        "speed_last_over_first": ratio(going, along),
        "same_frames": round(float(np.mean([s["same"] for c in going for s in c["seconds"]])), 4),
        "seam_ratio": seam_ratio(seams, "away"),
        "seam_ratio_alike": seam_ratio(seams, "away_alike"),
    }
    apart = [clip["apart"] for clip in clips if "apart" in clip]
    if apart:
        summary["seam_ratio_decoded_apart"] = seam_ratio(apart, "away")
    return {**summary, "curve": curve(clips, going)}


def curve(clips: list[dict[str, Any]], going: list[dict[str, Any]]) -> list[dict[str, float]]:
    rows = []
    times = clips[0]["times_s"]
    for index in range(0, len(times), max(1, (len(times) - 1) // 10)):
        at = [clip["seconds"][index] for clip in clips]
        start = [clip["seconds"][0] for clip in clips]
        rows.append(
            {
                "time_s": round(times[index], 1),
                "colour": share(at, lambda s: s["colour_ok"]),
                "shape": share(at, lambda s: s["shape_ok"]),
                "background": share(at, lambda s: s["background_ok"]),
                "direction": share(going, lambda c, i=index: moves(c, i)),
                "speed": ratio(going, along, index),
                "brightness": round(mean_of(at, "brightness") / mean_of(start, "brightness"), 3),
                "contrast": round(mean_of(at, "contrast") / mean_of(start, "contrast"), 3),
                "sharpness": round(mean_of(at, "sharpness") - mean_of(start, "sharpness"), 3),
            }
        )
    return rows


def right(clip: dict[str, Any], index: int) -> bool:
    second = clip["seconds"][index]
    return second["colour_ok"] and second["shape_ok"]


def all_right(clip: dict[str, Any]) -> bool:
    return all(right(clip, index) for index in range(len(clip["seconds"])))


def alike(clip: dict[str, Any], index: int, other: int) -> bool:
    a, b = clip["seconds"][index], clip["seconds"][other]
    return (a["colour"], a["shape"]) == (b["colour"], b["shape"])


def along(clip: dict[str, Any], index: int) -> float:
    """Speed in the direction that the prompt asks for."""
    dx, dy = DIRECTIONS[clip["motion"]]
    second = clip["seconds"][index]
    return (dx * second["vx"] + dy * second["vy"]) / np.hypot(dx, dy)


def moves(clip: dict[str, Any], index: int) -> bool:
    return along(clip, index) > MOVING * max(along(clip, 0), 0.02)


def ratio(clips: list[dict[str, Any]], value: Any, index: int = -1) -> float:
    if not clips:
        return float("nan")
    start, there = (np.mean([value(clip, i) for clip in clips]) for i in (0, index))
    return round(float(there / start), 3)


def share(rows: list[Any], holds: Any) -> float:
    return round(float(np.mean([holds(row) for row in rows])), 4) if rows else float("nan")


def mean_of(rows: list[dict[str, Any]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def seam_ratio(seams: list[dict[str, float]], against: str) -> float:
    """Of the sums over clips, so that a clip in which nothing moves weighs little."""
    at, away = (sum(row[name] for row in seams) for name in ("at", against))
    return round(at / away, 3)
