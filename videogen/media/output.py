"""Opens the container and the encoder that `VideoWriter` feeds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from videogen.media.codecs import Codec, Encoder, find_encoder
from videogen.media.pixels import padded_side

KEYFRAME_INTERVAL_S = 2  # so that players and samplers seek quickly


def open_output(
    path: Path, rate: Fraction, metadata: Mapping[str, str], faststart: bool
) -> OutputContainer:
    """Open an MP4 for writing whose bytes depend on what is written alone."""
    options = {
        # Keys other than MP4's few standard ones survive only as `mdta` keys.
        "movflags": "+use_metadata_tags" + ("+faststart" if faststart else ""),
        # No library versions and no dates in the file.
        "fflags": "+bitexact",
        # The default, milliseconds, would round the duration of fractional rates.
        "movie_timescale": str(rate.numerator),
    }
    container = av.open(str(path.absolute()), "w", format="mp4", container_options=options)
    container.metadata.update(metadata)
    return container


def add_stream(
    container: OutputContainer, codec: Codec, crf: int, rate: Fraction, height: int, width: int
) -> VideoStream:
    """Add the stream for frames of `height` x `width` pixels, padded as `codec` needs."""
    encoder = find_encoder(codec)
    stream = container.add_stream(encoder.name, rate=rate, options=_options(encoder, crf))
    assert isinstance(stream, VideoStream)
    stream.height = padded_side(height, codec.min_side_px)
    stream.width = padded_side(width, codec.min_side_px)
    stream.pix_fmt = codec.pixel_format
    stream.time_base = 1 / rate
    context = stream.codec_context
    context.time_base = 1 / rate
    context.thread_count = 1  # more threads give other bytes
    context.gop_size = max(1, round(KEYFRAME_INTERVAL_S * rate))
    context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    if codec.tag:
        context.codec_tag = codec.tag
    return stream


def _options(encoder: Encoder, crf: int) -> dict[str, str]:
    for key, value in encoder.environment.items():
        os.environ.setdefault(key, value)
    return {**encoder.options, "crf": str(crf)}
