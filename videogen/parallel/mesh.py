"""The ranks of a gang as a mesh: `cfg` for the halves of guidance, `seq` for tokens.

Rank r of a mesh is half `r // seq_degree` and holds share `r % seq_degree` of the tokens, so ranks
that talk most stand side by side. NCCL connects GPUs and gloo CPUs; everything else is the same.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import HashStore, TCPStore  # pyright: ignore[reportPrivateImportUsage]

from videogen.errors import ConfigError
from videogen.parallel.communicator import Communicator
from videogen.parallel.counters import Counters

TIMEOUT_S = 60.0
"""How long a rank waits for the others in one collective before it gives up with an error."""


def open_store(host: str, timeout_s: float = TIMEOUT_S) -> TCPStore:
    """Open the meeting place of a gang on a free port of this host; for rank 0.

    The others join at `f"{host}:{store.port}"`; no other address of this machine answers there.
    """
    wait = timedelta(seconds=timeout_s)
    listener = _listen(host)
    port = listener.getsockname()[1]
    fd = listener.detach()  # the store's own from now on
    return TCPStore(
        host, port, is_master=True, wait_for_workers=False, timeout=wait, master_listen_fd=fd
    )


def join(
    meeting: str | TCPStore,
    rank: int,
    world_size: int,
    device: torch.device,
    timeout_s: float = TIMEOUT_S,
    patience_s: float | None = None,
) -> None:
    """Become rank `rank` of `world_size`; returns when all have come.

    Args:
        meeting: the store of `open_store` on rank 0, its "host:port" on the others.
        device: what this rank computes on; a GPU is made the current one.
        timeout_s: how long connecting may take.
        patience_s: how much later than this rank the others may come; None is `timeout_s`.

    Raises:
        ConfigError: this process is a rank already, or the address is not "host:port".
    """
    if dist.is_initialized():
        raise ConfigError(
            "join: got a process that is a rank of a gang already, expected a new one. "
            "Fix: call leave() first."
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    wait = timedelta(seconds=timeout_s)
    store = _store(meeting, wait) if isinstance(meeting, str) else meeting
    if patience_s is not None:
        _await_all(store, rank, world_size, timedelta(seconds=patience_s))
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=wait)


def join_alone(device: torch.device) -> None:
    """Become the only rank of a gang: what divides weights wants a gang, however small."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)


def leave() -> None:
    """Stop being a rank; every mesh of this process is unusable afterwards."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _await_all(store: TCPStore, rank: int, world_size: int, patience: timedelta) -> None:
    names = [f"come/{each}" for each in range(world_size)]
    store.set(names[rank], "")
    store.wait(names, patience)


def _listen(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, 0), family=family)
    except OSError:  # an address that others know this machine by and that it does not have itself
        return socket.create_server(("", 0), family=family)


def _store(address: str, wait: timedelta) -> TCPStore:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"address: got '{address}', expected host:port, such as 10.0.0.1:29500.")
    return TCPStore(host.strip("[]"), int(port), is_master=False, timeout=wait)


class Mesh:
    """One rank's view of its mesh. All ranks make theirs, with the same degrees."""

    def __init__(
        self,
        cfg_degree: int = 1,
        seq_degree: int = 1,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Connect this process, which has joined, with the others of its mesh.

        Args:
            cfg_degree: 2 computes the halves of guidance side by side, 1 one after the other.
            seq_degree: ranks that share the tokens of a clip.
            timeout_s: of every collective.

        Raises:
            ConfigError: a degree is not legal, or there are not cfg_degree x seq_degree ranks.
        """
        self.rank, num_ranks = _place()
        _check_degrees(cfg_degree, seq_degree, num_ranks)
        self.counters = Counters()
        self._timeout = timedelta(seconds=timeout_s)
        self._subdivided: dict[int, tuple[Communicator, Communicator]] = {}
        half, share = divmod(self.rank, seq_degree)
        self.meanwhile: Callable[[], None] | None = None
        self._alone = self._connect("seq", [self.rank])
        self.gang = self._connect("gang", range(cfg_degree * seq_degree))
        self.cfg = self._connect("cfg", [h * seq_degree + share for h in range(cfg_degree)])
        self.seq = self._connect("seq", [half * seq_degree + s for s in range(seq_degree)])

    def subdivide_seq(self, ulysses_degree: int) -> tuple[Communicator, Communicator]:
        """Split the axis `seq` into a ring of groups; all its ranks ask for the same.

        Returns:
            (the `ulysses_degree` neighbours of this rank, this rank's peers in the other groups).

        Raises:
            ConfigError: `ulysses_degree` does not divide the degree of `seq`.
        """
        if self.seq.size % ulysses_degree:
            raise ConfigError(
                f"ulysses_degree: got {ulysses_degree}, expected a divisor of seq_degree "
                f"{self.seq.size}."
            )
        if ulysses_degree == self.seq.size:
            return self.seq, self._alone
        if ulysses_degree == 1:
            return self._alone, self.seq
        if ulysses_degree not in self._subdivided:
            group, place = divmod(self.seq.rank, ulysses_degree)
            first = self.rank - self.seq.rank
            near = [first + group * ulysses_degree + p for p in range(ulysses_degree)]
            far = range(first + place, first + self.seq.size, ulysses_degree)
            self._subdivided[ulysses_degree] = self._connect("seq", near), self._connect("seq", far)
        return self._subdivided[ulysses_degree]

    def _connect(self, axis: str, ranks: Sequence[int]) -> Communicator:
        """A communicator among some ranks of the mesh; only they need to ask for it."""
        group = None
        if len(ranks) > 1:
            group = dist.new_group([*ranks], timeout=self._timeout, use_local_synchronization=True)
            assert isinstance(group, dist.ProcessGroup)
            _connect_now(group)
        place = list(ranks).index(self.rank)
        return Communicator(axis, place, ranks, group, self.counters, self._do_meanwhile)

    def _do_meanwhile(self) -> None:
        if self.meanwhile is not None:
            self.meanwhile()


def _connect_now(group: dist.ProcessGroup) -> None:
    """Have NCCL connect a group while all of its ranks are here: later not all may take part."""
    if dist.get_backend(group) == "nccl":
        dist.barrier(group, device_ids=[torch.cuda.current_device()])


def _place() -> tuple[int, int]:
    """This rank, and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def _check_degrees(cfg_degree: int, seq_degree: int, num_ranks: int) -> None:
    if cfg_degree not in (1, 2):
        raise ConfigError(
            f"cfg_degree: got {cfg_degree}, expected 1 or 2, because guidance has two halves."
        )
    if seq_degree < 1:
        raise ConfigError(f"seq_degree: got {seq_degree}, expected 1 or more.")
    if cfg_degree * seq_degree != num_ranks:
        raise ConfigError(
            f"mesh: got {num_ranks} ranks, expected {cfg_degree * seq_degree}, which is "
            f"cfg_degree {cfg_degree} x seq_degree {seq_degree}. Fix: change the degrees, or join "
            "as many ranks."
        )
