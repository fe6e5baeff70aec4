"""The token stream `b t s d` of a clip, cut along one axis among the ranks of `seq`.

Dynamic sequence parallelism (Zhao et al. 2403.10266): everything but self-attention works token by
token and stays where it is. Attention along the axis that is not cut is local as well; only the
other one needs its axis whole, and gets it by moving the cut over and back.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from videogen.errors import ConfigError
from videogen.models.layout import Layout, Stream
from videogen.parallel.communicator import Communicator, Cut
from videogen.parallel.shards import Shard
from videogen.parallel.windows import Window, find_windows

TIME, SPACE = 1, 2
"""Dims of `b t s d` that can be cut."""
AXIS_DIMS = {"time": TIME, "space": SPACE}


def choose_cut(t: int, s: int, degree: int) -> int:
    """The dim to cut `t` frames of `s` tokens along: where the largest share is smaller."""
    return SPACE if -(-s // degree) * t <= -(-t // degree) * s else TIME


class ShardedLayout(Layout):
    """Gives a model this rank's tokens; every forward is cut anew, to its own sizes."""

    def __init__(self, seq: Communicator) -> None:
        self.seq = seq
        self.dim = SPACE
        self.shards: dict[int, Shard] = {}
        self.mask: Tensor | None = None
        """Which frame sees which, bool `t t`."""
        self.windows: list[Window] = []
        """The same as ranges; none without a mask."""
        self.crossed_angles = torch.empty(0)
        """RoPE angles of this rank's tokens while the cut is moved over."""

    @property
    def shard(self) -> Shard:
        """This rank's share along the dim that is cut."""
        return self.shards[self.dim]

    @property
    def cut(self) -> Cut:
        return self.dim, self.shard.sizes

    @property
    def crossed_cut(self) -> Cut:
        """The cut while it is moved over to the other dim."""
        other = _other(self.dim)
        return other, self.shards[other].sizes

    @property
    def whole_grid(self) -> tuple[int, int]:
        """All tokens, (t, s)."""
        t, s = (sum(self.shards[dim].sizes) for dim in (TIME, SPACE))
        return t, s

    @property
    def grid(self) -> tuple[int, int]:
        """This rank's tokens, (t, s)."""
        t, s = self.whole_grid
        return (self.shard.size, s) if self.dim == TIME else (t, self.shard.size)

    def scatter(self, stream: Stream) -> Stream:
        """This rank's tokens of a whole stream.

        Raises:
            ConfigError: gradients would be needed, which do not cross ranks.
        """
        _check_inference(stream.condition)
        t, s = stream.patches.shape[1:3]
        self.dim = choose_cut(t, s, self.seq.size)
        self.shards = {
            dim: Shard.of(size, self.seq.size, self.seq.rank)
            for dim, size in ((TIME, t), (SPACE, s))
        }
        self.mask = stream.mask
        self.windows = [] if stream.mask is None else find_windows(stream.mask)
        other = _other(self.dim)
        # Copies, not views: views would keep the whole clip in the memory of every rank.
        self.crossed_angles = self.shards[other].take(stream.angles, other - 1).clone()
        condition = stream.condition
        return replace(
            stream,
            patches=self.shard.take(stream.patches, self.dim).clone(),
            condition=self.shard.take(condition, TIME) if self.dim == TIME else condition,
            angles=self.shard.take(stream.angles, self.dim - 1).clone(),
        )

    def token_mask(self, stream: Stream) -> None:
        """None: attention takes what it needs from `mask` or `windows`."""

    def gather(self, patches: Tensor) -> Tensor:
        """All patches `b t s c`, on every rank."""
        return self.seq.all_gather(patches, self.cut, "gather")

    def total(self, sums: Tensor) -> Tensor:
        """Sums `k` over the tokens of all ranks, the same to the last bit on each."""
        rows = self.seq.all_gather(sums[None], (0, (1,) * self.seq.size), "total")
        return rows.sum(0)

    def cross(self, x: Tensor) -> Tensor:
        """Make tokens whole along the dim that is cut, by cutting the other one."""
        return self.seq.all_to_all(x, self.crossed_cut, self.cut, "switch")

    def cross_back(self, x: Tensor) -> Tensor:
        """Undo `cross`."""
        return self.seq.all_to_all(x, self.cut, self.crossed_cut, "switch")


def _other(dim: int) -> int:
    return TIME if dim == SPACE else SPACE


def _check_inference(condition: Tensor) -> None:
    if condition.requires_grad:
        raise ConfigError(
            "sharded model: got a forward that records gradients, expected inference, because "
            "gradients do not cross ranks. Fix: call it under torch.inference_mode()."
        )
