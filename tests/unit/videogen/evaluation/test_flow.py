"""Flow finds known shifts, and what it cannot explain stays visible."""

import cv2
import numpy as np

from videogen.evaluation.flow import camera_motion, flow_between, midpoint, warp


def textured(shift=(0, 0), size=96):
    rng = np.random.default_rng(3)
    image = cv2.GaussianBlur(rng.random((160, 160), np.float32), (0, 0), 2)
    image = (image - image.min()) / (image.max() - image.min())
    y, x = 30 + shift[1], 30 + shift[0]
    return (255 * image[y : y + size, x : x + size]).astype(np.uint8)


def test_a_pan_is_found_in_pixels_both_ways():
    flow = flow_between(textured(), textured((3, -2)))
    inner = (slice(16, -16), slice(16, -16))
    np.testing.assert_allclose(np.median(flow.forward[inner], axis=(0, 1)), [-3, 2], atol=0.1)
    np.testing.assert_allclose(np.median(flow.backward[inner], axis=(0, 1)), [3, -2], atol=0.1)
    assert flow.visible[inner].mean() > 0.99
    np.testing.assert_allclose(np.median(flow.speed), np.hypot(3, 2), atol=0.1)


def test_warping_brings_the_later_frame_back():
    first, later = textured(), textured((3, -2))
    flow = flow_between(first, later)
    restored = warp(later.astype(np.float32), flow.forward)
    inner = (slice(16, -16), slice(16, -16))
    moved = np.abs(restored - first)[inner].mean()
    assert moved < 2 < np.abs(later.astype(float) - first)[inner].mean()


def test_the_midpoint_is_the_frame_halfway():
    first, middle, last = (
        np.repeat(textured((x, 0))[..., None], 3, 2).astype(np.float32) / 255 for x in (0, 2, 4)
    )
    flow = flow_between(textured(), textured((4, 0)))
    inner = (slice(16, -16), slice(16, -16))
    error = np.abs(midpoint(first, last, flow) - middle)[inner].mean()
    assert error < 0.3 * np.abs((first + last) / 2 - middle)[inner].mean()


def test_the_camera_is_what_most_of_the_frame_does():
    flow = np.zeros((96, 128, 2), np.float32)
    flow[...] = (2, -1)
    flow[30:60, 30:60] = (-4, 4)
    np.testing.assert_allclose(camera_motion(flow)[0, 0], [2, -1], atol=0.05)
    rng = np.random.default_rng(0)
    assert not camera_motion(rng.normal(0, 8, flow.shape).astype(np.float32)).any()


def test_the_number_of_threads_does_not_change_the_flow():
    before = cv2.getNumThreads()
    flows = []
    for threads in (1, 2):
        cv2.setNumThreads(threads)
        flows.append(flow_between(textured(), textured((3, -2))).forward)
    cv2.setNumThreads(before)
    np.testing.assert_array_equal(*flows)
