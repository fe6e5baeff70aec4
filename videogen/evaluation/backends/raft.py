"""RAFT optical flow (Teed and Deng, 2020), for the one VBench dimension that is defined by it.

The module tree carries the names of the authors' checkpoint, so `raft-things` loads as published.
Full size only: 4 levels of correlation, radius 4.
"""

from __future__ import annotations

from pathlib import Path

import torch
from einops import rearrange
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from videogen.errors import WeightsError

FILE = "raft-things.safetensors"
LEVELS, RADIUS = 4, 4
HIDDEN, CONTEXT = 128, 128
STRIDE = 8


def _norm(kind: str, width: int) -> nn.Module:
    return nn.BatchNorm2d(width) if kind == "batch" else nn.InstanceNorm2d(width)


class ResidualBlock(nn.Module):
    def __init__(self, width_in: int, width: int, norm: str, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1)
        self.norm1, self.norm2 = _norm(norm, width), _norm(norm, width)
        self.downsample = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(nn.Conv2d(width_in, width, 1, stride), _norm(norm, width))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        y = functional.relu(self.norm2(self.conv2(y)))
        return functional.relu(self.downsample(x) + y)


class Encoder(nn.Module):
    """`b 3 h w` to `b d h/8 w/8`."""

    def __init__(self, width: int, norm: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3)
        self.norm1 = _norm(norm, 64)
        self.layer1 = self._layer(64, 64, norm, 1)
        self.layer2 = self._layer(64, 96, norm, 2)
        self.layer3 = self._layer(96, 128, norm, 2)
        self.conv2 = nn.Conv2d(128, width, 1)

    @staticmethod
    def _layer(width_in: int, width: int, norm: str, stride: int) -> nn.Sequential:
        first = ResidualBlock(width_in, width, norm, stride)
        return nn.Sequential(first, ResidualBlock(width, width, norm, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm1(self.conv1(x)))
        return self.conv2(self.layer3(self.layer2(self.layer1(x))))


class MotionEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(LEVELS * (2 * RADIUS + 1) ** 2, 256, 1)
        self.convc2 = nn.Conv2d(256, 192, 3, padding=1)
        self.convf1 = nn.Conv2d(2, 128, 7, padding=3)
        self.convf2 = nn.Conv2d(128, 64, 3, padding=1)
        self.conv = nn.Conv2d(64 + 192, 128 - 2, 3, padding=1)

    def forward(self, flow: Tensor, correlation: Tensor) -> Tensor:
        c = functional.relu(self.convc2(functional.relu(self.convc1(correlation))))
        f = functional.relu(self.convf2(functional.relu(self.convf1(flow))))
        both = functional.relu(self.conv(torch.cat([c, f], dim=1)))
        return torch.cat([both, flow], dim=1)


class SeparableGru(nn.Module):
    """A convolutional GRU along rows, then along columns."""

    def __init__(self) -> None:
        super().__init__()
        width = HIDDEN + HIDDEN + CONTEXT
        for axis, (kernel, padding) in enumerate((((1, 5), (0, 2)), ((5, 1), (2, 0))), start=1):
            for gate in "zrq":
                conv = nn.Conv2d(width, HIDDEN, kernel, padding=padding)
                self.add_module(f"conv{gate}{axis}", conv)

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        for axis in (1, 2):
            z, r, q = (self.get_submodule(f"conv{gate}{axis}") for gate in "zrq")
            both = torch.cat([h, x], dim=1)
            update, reset = torch.sigmoid(z(both)), torch.sigmoid(r(both))
            h = (1 - update) * h + update * torch.tanh(q(torch.cat([reset * h, x], dim=1)))
        return h


class FlowHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(HIDDEN, 256, 3, padding=1)
        self.conv2 = nn.Conv2d(256, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(functional.relu(self.conv1(x)))


class UpdateBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = MotionEncoder()
        self.gru = SeparableGru()
        self.flow_head = FlowHead()
        self.mask = nn.Sequential(
            nn.Conv2d(HIDDEN, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, STRIDE**2 * 9, 1),
        )


class Raft(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fnet = Encoder(256, "instance")
        self.cnet = Encoder(HIDDEN + CONTEXT, "batch")
        self.update_block = UpdateBlock()

    def forward(self, first: Tensor, second: Tensor, iterations: int = 20) -> Tensor:
        """Flow `b (x, y) h w` in pixels between float images `b c h w` in [0, 255].

        Sides have to be multiples of 8; see `pad`.
        """
        first, second = 2 * (first / 255) - 1, 2 * (second / 255) - 1
        pyramid = _correlate(self.fnet(first), self.fnet(second))
        hidden, context = self.cnet(first).split([HIDDEN, CONTEXT], dim=1)
        hidden, context = torch.tanh(hidden), functional.relu(context)
        start = _coordinates(hidden)
        place = start
        for _ in range(iterations):
            seen = _look_up(pyramid, place)
            motion = self.update_block.encoder(place - start, seen)
            hidden = self.update_block.gru(hidden, torch.cat([context, motion], dim=1))
            place = place + self.update_block.flow_head(hidden)
        return _upsample(place - start, 0.25 * self.update_block.mask(hidden))


def _coordinates(like: Tensor) -> Tensor:
    y, x = torch.meshgrid(*(torch.arange(n) for n in like.shape[-2:]), indexing="ij")
    return torch.stack([x, y]).to(like)[None].expand(len(like), -1, -1, -1)


def _correlate(one: Tensor, other: Tensor) -> list[Tensor]:
    """Every pixel against every other, `(b h w) 1 h w`, and its averages."""
    volume = torch.einsum("bdhw,bdyx->bhwyx", one, other) / one.shape[1] ** 0.5
    pyramid = [rearrange(volume, "b h w y x -> (b h w) 1 y x")]
    for _ in range(LEVELS - 1):
        pyramid.append(functional.avg_pool2d(pyramid[-1], 2))
    return pyramid


def _look_up(pyramid: list[Tensor], place: Tensor) -> Tensor:
    """Correlations in a window around `place` on all levels, `b (levels i j) h w`; i counts x."""
    batch, _, height, width = place.shape
    steps = torch.linspace(-RADIUS, RADIUS, 2 * RADIUS + 1, device=place.device)
    window = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)
    centres = rearrange(place, "b c h w -> (b h w) 1 1 c")
    levels = []
    for level, volume in enumerate(pyramid):
        size = torch.tensor(volume.shape[:-3:-1], device=place.device) - 1
        grid = 2 * (centres / 2**level + window) / size - 1
        levels.append(functional.grid_sample(volume, grid, align_corners=True))
    seen = torch.cat(levels, dim=1)
    return rearrange(seen, "(b h w) l i j -> b (l i j) h w", b=batch, h=height, w=width)


def _upsample(flow: Tensor, mask: Tensor) -> Tensor:
    """Eight times larger: each fine pixel a convex combination of nine coarse ones."""
    height, width = flow.shape[-2:]
    weights = rearrange(mask, "b (k y x) h w -> b 1 k y x h w", k=9, y=STRIDE).softmax(dim=2)
    patches = functional.unfold(STRIDE * flow, 3, padding=1)
    patches = rearrange(patches, "b (c k) (h w) -> b c k 1 1 h w", c=2, h=height, w=width)
    return rearrange((weights * patches).sum(dim=2), "b c y x h w -> b c (h y) (w x)")


def pad(images: Tensor) -> Tensor:
    """Repeat the border until the sides are multiples of 8, evenly on both sides."""
    height, width = images.shape[-2:]
    down, across = -height % STRIDE, -width % STRIDE
    sides = [across // 2, across - across // 2, down // 2, down - down // 2]
    return functional.pad(images, sides, mode="replicate")


def load_raft(folder: Path, device: torch.device) -> Raft:
    """Read the authors' checkpoint, converted to safetensors; names may begin with "module.".

    Raises:
        WeightsError: the file cannot be read or is of another network.
    """
    try:
        state = load_file(folder / FILE)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{folder / FILE}: cannot be read: {error}. Fix: convert again."
        ) from error
    # The authors register a block's third norm twice; the copy in `downsample` is used.
    state = {key.removeprefix("module."): v for key, v in state.items() if ".norm3." not in key}
    model = Raft()
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"{folder / FILE}: {error}. Fix: convert raft-things.pth of the authors' release."
        ) from error
    return model.to(device).eval().requires_grad_(False)
