"""Small VAEs, and ranks that are threads to run them on."""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from videogen.models.config import VAEConfig
from videogen.models.vae import VideoVAE
from videogen.parallel.communicator import Message

TOLERANCE = 1e-5


class Threads:
    """One thread's view of ranks that are threads, with a mailbox for each pair."""

    def __init__(self, rank: int, size: int, mail: dict[tuple[int, int], queue.Queue]) -> None:
        self.rank, self.size, self.mail = rank, size, mail
        self.sent_bytes: Counter[str] = Counter()

    def exchange(
        self, sends: Sequence[Message], receives: Sequence[Message], operation: str = "exchange"
    ) -> None:
        self.start_exchange(sends, receives, operation)()

    def start_exchange(
        self, sends: Sequence[Message], receives: Sequence[Message], operation: str
    ) -> Callable[[], None]:
        for tensor, rank in sends:
            assert tensor.is_contiguous()
            self.sent_bytes[operation] += tensor.nbytes
            self.mail[self.rank, rank].put(tensor.clone())
        return lambda: self._receive(receives)

    def _receive(self, receives: Sequence[Message]) -> None:
        for place, rank in receives:
            found = self.mail[rank, self.rank].get(timeout=20)
            assert (place.shape, place.dtype) == (found.shape, found.dtype)
            place.copy_(found)


def on_ranks(size: int, work: Callable[[Threads], Any]) -> list[Any]:
    """What `work` returns on each of `size` ranks."""
    mail = {(i, j): queue.Queue() for i in range(size) for j in range(size)}
    with ThreadPoolExecutor(size) as pool:
        ranks = [Threads(rank, size, mail) for rank in range(size)]
        results = [pool.submit(work, rank) for rank in ranks]
        found = [result.result() for result in results]
    assert all(box.empty() for box in mail.values())
    return found


def small_vae(pixel_shuffle: int = 4, seed: int = 0) -> VideoVAE:
    torch.manual_seed(seed)
    config = VAEConfig(
        latent_channels=3,
        pixel_shuffle=pixel_shuffle,
        widths=(6, 8, 10),
        decoder_blocks=(1, 1, 1),
        detail_width=4,
        detail_blocks=1,
    )
    vae = VideoVAE(config).requires_grad_(False)
    for name, parameter in vae.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return vae


VAES = {fold: small_vae(fold) for fold in (2, 4)}


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))
