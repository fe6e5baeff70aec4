"""3x3 convolutions with 2.25 times fewer products (Winograd's F(2x2, 3x3), Lavin 1509.09308, 4.1).

Exact in real numbers; in float32 the rounding is of the size of that of a convolution. The work is
done a strip of the picture at a time, so that what stands between the transforms stays in cache.
For CPUs: on GPUs the libraries choose such methods by themselves.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

MIN_CHANNELS = 32
"""With fewer, transforming costs more than the products it saves."""
STRIP_BYTES = 6 * 2**20
STRIPS_PER_WEIGHTS = 2
_TRANSFORMED: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
_G = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))


def is_worthwhile(x: Tensor, weight: Tensor) -> bool:
    """Whether convolving `x` with `weight` `o c … h w`, at stride 1, is faster this way."""
    return (
        weight.shape[-2:] == (3, 3)
        and min(weight.shape[:2]) >= MIN_CHANNELS
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
    )


def transformed(weight: Tensor) -> Tensor:
    """Weights `o c t 3 3`, or `o c 3 3`, as the products take them, `t 16 c o`; made once."""
    if weight not in _TRANSFORMED:
        g = torch.tensor(_G, dtype=weight.dtype, device=weight.device)
        taps = weight.detach() if weight.ndim == 5 else weight.detach()[:, :, None]
        parts = torch.einsum("ij,octjk,lk->tilco", g, taps, g)
        _TRANSFORMED[weight] = parts.flatten(1, 2).contiguous()
    return _TRANSFORMED[weight]


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int] = (1, 1)
) -> Tensor:
    """Convolve `b c t h w` with `o c t 3 3`, at stride 1.

    Args:
        padding: lines of zeros, 0 or 1, before and after along h and w; along t there are none.

    Returns:
        `b o t' h' w'` with channels last in memory, t' = t - taps + 1.
    """
    weights = transformed(weight)
    clips = [_convolve(clip, weights, bias, padding) for clip in x.split(1)]
    return clips[0] if len(clips) == 1 else torch.cat(clips)


def convolve_pictures(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve pictures `b c h w` with `o c 3 3`, at stride 1, padded with a line of zeros."""
    frames = x.transpose(0, 1)[None]
    return _convolve(frames, transformed(weight), bias, (1, 1))[0].transpose(0, 1)


def _convolve(x: Tensor, weights: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
    _, c, t, *size = x.shape
    taps, _, _, o = weights.shape
    h, w = (side + 2 * lines - 2 for side, lines in zip(size, padding, strict=True))
    rows, columns = -(-h // 2), -(-w // 2)
    padded = _padded(x[0], padding, (2 * rows + 2, 2 * columns + 2))
    out = x.new_empty(t - taps + 1, rows, 2, columns, 2, o)
    # The weights pass through the cache once a strip, so a strip is not small beside them.
    strip_bytes = max(STRIP_BYTES, STRIPS_PER_WEIGHTS * weights.nbytes)
    height = max(1, min(rows, strip_bytes // (4 * 16 * t * columns * c)))
    for start in range(0, rows, height):
        strip = padded[:, 2 * start : 2 * min(start + height, rows) + 2]
        tiles = _input_transform(strip, columns)
        _output_transform(_products(tiles, weights), bias, out[:, start : start + height])
    whole = out.view(1, t - taps + 1, 2 * rows, 2 * columns, o)
    return whole[:, :, :h, :w].permute(0, 4, 1, 2, 3)


def _padded(x: Tensor, padding: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Frames `c t h w` as `t h w c` of a larger size, with zeros around them."""
    c, t, h, w = x.shape
    (above, left), (height, width) = padding, size
    padded = x.new_empty(t, height, width, c)
    padded[:, :above], padded[:, above + h :] = 0, 0
    padded[:, :, :left], padded[:, :, left + w :] = 0, 0
    padded[:, above : above + h, left : left + w] = x.permute(1, 2, 3, 0)
    return padded


def _input_transform(strip: Tensor, columns: int) -> Tensor:
    """Overlapping tiles 4x4 of lines `t 2r+2 2q+2 c`, transformed both ways: `16 t r q c`."""
    t, lines, _, c = strip.shape
    r, q = (lines - 2) // 2, columns
    tiles = strip.new_empty(4, 4, t, r, q, c)
    across = strip.new_empty(4, t, r, 2 * q + 2, c)
    _differences([strip[:, i : i + 2 * r : 2] for i in range(4)], across)
    for line, along in zip(across, tiles, strict=True):
        _differences([line[:, :, j : j + 2 * q : 2] for j in range(4)], along)
    return tiles.flatten(0, 1)


def _differences(parts: list[Tensor], out: Tensor) -> None:
    first, second, third, fourth = parts
    torch.sub(first, third, out=out[0])
    torch.add(second, third, out=out[1])
    torch.sub(third, second, out=out[2])
    torch.sub(second, fourth, out=out[3])


def _products(tiles: Tensor, weights: Tensor) -> Tensor:
    """Tiles `16 t r q c` times weights, summed over channels and taps: `16 t' r q o`."""
    _, t, r, q, c = tiles.shape
    taps, cells = len(weights), r * q
    flat, made = tiles.view(16, t * cells, c), t - taps + 1
    total = torch.bmm(flat[:, : made * cells], weights[0])
    for tap in range(1, taps):
        total.baddbmm_(flat[:, tap * cells : (tap + made) * cells], weights[tap])
    return total.view(4, 4, made, r, q, -1)


def _output_transform(tiles: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """Tiles `4 4 t r q o` back to the pixels `t r 2 q 2 o`."""
    upper = (tiles[0] + tiles[1]).add_(tiles[2])
    lower = (tiles[1] - tiles[2]).sub_(tiles[3])
    for line, part in enumerate((upper, lower)):
        left, right = part[0], part[3]
        left.add_(part[1]).add_(part[2])
        torch.sub(part[1], part[2], out=part[1]).sub_(right)
        for column, pixels in enumerate((left, part[1])):
            place = out[:, :, line, :, column]
            if bias is None:
                place.copy_(pixels)
            else:
                torch.add(pixels, bias, out=place)
