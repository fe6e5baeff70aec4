"""Collectives among the ranks of one axis: exact for uneven shares, counted, in any dtype.

Tensors travel as bytes, so nothing is rounded and gloo and NCCL need not know the dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from videogen.parallel.counters import Counters
from videogen.parallel.shards import Sizes

Message = tuple[Tensor, int]
"""A tensor, and the rank it goes to or comes from."""
Cut = tuple[int, Sizes]
"""A dim, and the share that each rank has or gets of it."""


class Communicator:
    """One rank's line to the others of an axis; ranks count from 0 within the axis."""

    def __init__(
        self,
        axis: str,
        rank: int,
        ranks: Sequence[int],
        group: dist.ProcessGroup | None,
        counters: Counters,
        meanwhile: Callable[[], None],
    ) -> None:
        """Talk within `group`, which holds the global `ranks` in this order, this one at `rank`.

        Args:
            meanwhile: called between the start and the end of every all-to-all.
        """
        self.axis = axis
        self.rank = rank
        self.ranks = tuple(ranks)
        self.counters = counters
        self.group, self._meanwhile = group, meanwhile

    @property
    def size(self) -> int:
        return len(self.ranks)

    def all_to_all(self, x: Tensor, scatter: Cut, gather: Cut, operation: str) -> Tensor:
        """Move the cut of a tensor from one dim to another.

        Args:
            x: whole along the dim of `scatter`, this rank's share along the dim of `gather`.
            scatter: the dim that is cut afterwards, and the shares of it.
            gather: the dim that is whole afterwards, and the shares of it now.
            operation: what it is counted as.
        """
        if self.size == 1:
            return x
        (cut, cut_sizes), (joined, joined_sizes) = scatter, gather
        shapes = [_with(x.shape, {cut: cut_sizes[self.rank], joined: n}) for n in joined_sizes]
        parts = x.split(cut_sizes, dim=cut)
        received = self._swap(_packed(x, parts, cut), parts, shapes, operation)
        if math.prod(shapes[0][:joined]) <= 1:
            return received.view(_with(shapes[0], {joined: sum(joined_sizes)}))
        pieces = received.split([math.prod(shape) for shape in shapes])
        return torch.cat([p.view(s) for p, s in zip(pieces, shapes, strict=True)], dim=joined)

    def all_gather(self, x: Tensor, gather: Cut, operation: str) -> Tensor:
        """Put the shares of all ranks together along a dim, on every rank."""
        if self.size == 1:
            return x
        dim, sizes = gather
        room = x.new_zeros(_with(x.shape, {dim: max(sizes)}))
        room.narrow(dim, 0, x.shape[dim]).copy_(x)
        flat = room.view(-1)
        received = flat.new_empty(self.size * flat.numel())
        num_bytes = flat.numel() * x.element_size() * (self.size - 1)
        self.counters.add(self.axis, operation, num_bytes)
        with self.counters.waiting(self.axis, operation, x.device):
            dist.all_gather([*_bytes(received).chunk(self.size)], _bytes(flat), self.group)
        pieces = received.view(self.size, *room.shape)
        return torch.cat([p.narrow(dim, 0, n) for p, n in zip(pieces, sizes, strict=True)], dim=dim)

    def exchange(
        self, sends: Sequence[Message], receives: Sequence[Message], operation: str = "exchange"
    ) -> None:
        """Send and receive all at once, contiguous tensors, received into those given."""
        self.start_exchange(sends, receives, operation)()

    def start_exchange(
        self, sends: Sequence[Message], receives: Sequence[Message], operation: str
    ) -> Callable[[], None]:
        """Start an `exchange`; what is returned waits for its end."""
        tensors = [*(tensor for tensor, _ in sends), *(tensor for tensor, _ in receives)]
        wanted = [(dist.isend, *message) for message in sends]
        wanted += [(dist.irecv, *message) for message in receives]
        p2p = [
            dist.P2POp(how, _bytes(tensor.view(-1)), self.ranks[peer], self.group)
            for how, tensor, peer in wanted
            if tensor.numel()
        ]
        if not p2p:
            return lambda: None
        sent = sum(tensor.numel() * tensor.element_size() for tensor, _ in sends)
        self.counters.add(self.axis, operation, sent)
        device = tensors[0].device
        with self.counters.waiting(self.axis, operation, device):
            works = dist.batch_isend_irecv(p2p)

        def finish() -> None:
            with self.counters.waiting(self.axis, operation, device):
                for work in works:
                    work.wait()

        return finish

    def _swap(
        self, packed: Tensor, parts: Sequence[Tensor], shapes: Sequence[torch.Size], operation: str
    ) -> Tensor:
        """Send the parts to their ranks, return what came from each, one after the other."""
        width = packed.element_size()
        out = [part.numel() * width for part in parts]
        back = [math.prod(shape) * width for shape in shapes]
        received = packed.new_empty(sum(back) // width)
        self.counters.add(self.axis, operation, sum(out) - out[self.rank])
        with self.counters.waiting(self.axis, operation, packed.device):
            work = dist.all_to_all_single(
                _bytes(received),
                _bytes(packed),
                back,
                out,
                group=self.group,
                async_op=True,
            )
        self._meanwhile()
        with self.counters.waiting(self.axis, operation, packed.device):
            assert work is not None
            work.wait()
        return received


def _packed(x: Tensor, parts: Sequence[Tensor], dim: int) -> Tensor:
    """The parts of `x` along `dim`, one after the other in memory."""
    if x.is_contiguous() and math.prod(x.shape[:dim]) == 1:
        return x.view(-1)
    packed = x.new_empty(x.numel())
    for part, place in zip(parts, packed.split([p.numel() for p in parts]), strict=True):
        place.view(part.shape).copy_(part)
    return packed


def _with(shape: torch.Size, changes: dict[int, int]) -> torch.Size:
    return torch.Size(changes.get(dim, size) for dim, size in enumerate(shape))


def _bytes(flat: Tensor) -> Tensor:
    return flat.view(torch.uint8)
