"""Rank processes that stay up for a whole test session and are sent jobs."""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn

import pytest
import torch

from videogen.parallel.mesh import Mesh, join, open_store

TIMEOUT_S = 60.0
# Imported once and inherited by all ranks; torch imports its compiler when operations are counted.
PRELOADED = ["torch._dynamo", "videogen.generator", "tests.distributed.jobs"]


class Rank:
    """What a job finds in its process: meshes are made once and kept."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self._meshes: dict[tuple[int, int], Mesh] = {}

    def mesh(self, cfg_degree: int, seq_degree: int) -> Mesh:
        """All ranks as a mesh, its counters at 0."""
        key = cfg_degree, seq_degree
        if key not in self._meshes:
            self._meshes[key] = Mesh(*key, timeout_s=TIMEOUT_S / 2)
        self._meshes[key].counters.reset()
        return self._meshes[key]


class RankPool:
    """Runs a function on several ranks at once and hands back what each returned.

    Gangs of each size stay up. A rank that fails leaves the others waiting in a collective, so its
    gang is killed then; the next job finds a new one.
    """

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._gangs: dict[int, list[tuple[BaseProcess, Connection]]] = {}

    def run(self, job: Callable[..., Any], num_ranks: int, **arguments: Any) -> list[Any]:
        """Call `job(rank, **arguments)` on `num_ranks` ranks."""
        if num_ranks not in self._gangs:
            self._start(num_ranks)
        lines = [line for _, line in self._gangs[num_ranks]]
        for line in lines:
            line.send((job, arguments))
        results: dict[int, Any] = {}
        deadline = time.monotonic() + TIMEOUT_S
        while len(results) < num_ranks:
            waiting = [line for rank, line in enumerate(lines) if rank not in results]
            ready = wait(waiting, timeout=max(0.0, deadline - time.monotonic()))
            if not ready:
                self._fail(num_ranks, f"no answer within {TIMEOUT_S} s")
            for line in ready:
                assert isinstance(line, Connection)
                rank = lines.index(line)
                is_done, results[rank] = _received(line)
                if not is_done:
                    self._fail(num_ranks, f"rank {rank}: {results[rank]}")
        return [results[rank] for rank in range(num_ranks)]

    def close(self) -> None:
        for num_ranks in [*self._gangs]:
            self._kill(num_ranks)

    def _start(self, num_ranks: int) -> None:
        gang = self._gangs[num_ranks] = []
        for rank in range(num_ranks):
            line, far_end = self._context.Pipe()
            process = self._context.Process(
                target=_serve, args=(rank, num_ranks, far_end), daemon=True
            )
            process.start()
            far_end.close()
            gang.append((process, line))
        address = gang[0][1].recv()
        for _, line in gang[1:]:
            line.send(address)

    def _kill(self, num_ranks: int) -> None:
        for process, _ in self._gangs.pop(num_ranks):
            process.kill()
            process.join()

    def _fail(self, num_ranks: int, what: str) -> NoReturn:
        self._kill(num_ranks)
        pytest.fail(what)


def _received(line: Connection) -> tuple[bool, Any]:
    try:
        return line.recv()
    except EOFError:
        return False, "its process ended"


def _serve(rank: int, num_ranks: int, line: Connection) -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    if rank == 0:
        store = open_store("127.0.0.1")
        line.send(f"127.0.0.1:{store.port}")
    else:
        store = line.recv()
    join(store, rank, num_ranks, torch.device("cpu"), timeout_s=TIMEOUT_S)
    me = Rank(rank)
    while True:
        try:
            job, arguments = line.recv()
        except EOFError:
            return
        try:
            line.send((True, job(me, **arguments)))
        except Exception:  # noqa: BLE001 - whatever it is, the test is to show it
            line.send((False, traceback.format_exc()))
