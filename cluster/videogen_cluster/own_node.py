"""How the processes of a Ray of our own start: few of them, in sessions of their own.

Ray has no public switch for either. What is replaced here is private to it; where a name is
missing, Ray starts as it would for anybody, which works too and takes some seconds longer.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

_UNUSED = {"no_monitor": True, "include_log_monitor": False}


@contextlib.contextmanager
def few_processes() -> Iterator[None]:
    """Start a node of Ray without what a run on one machine has no use for.

    That is the autoscaler, because no machine will join; the monitor that prints what workers
    say, because ranks tell us themselves; the server of the dashboard, which Ray starts empty when
    there is to be none; and the modules and metrics that node agents keep for it. All of them are
    Python programs, and starting them took most of the time before a first clip.
    """
    from ray._private import node, parameter, utils

    with (
        _replaced(parameter, "RayParams", _without_monitors),
        _replaced(node.Node, "start_api_server", lambda _: _start_nothing),
        _replaced(utils, "get_dashboard_dependency_error", lambda _: _not_wanted),
    ):
        yield


@contextlib.contextmanager
def own_session() -> Iterator[None]:
    """Start Ray's processes in sessions of their own.

    A signal to this process's group (`timeout`, a batch system) would end them first, and no clip
    in flight could finish. They still die with this process, by the kernel's parent-death signal.
    Without this, a run that Ray leaves counts as interrupted.
    """
    from ray._private import services

    with _replaced(services, "ConsolePopen", _in_a_session):
        yield


@contextlib.contextmanager
def _replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Have `owner.name` be `make` of what it is, if there is one."""
    before = getattr(owner, name, None)
    if before is None:
        yield
        return
    setattr(owner, name, make(before))
    try:
        yield
    finally:
        setattr(owner, name, before)


def _without_monitors(before: type[Any]) -> type[Any]:
    known = inspect.signature(before).parameters
    chosen = {name: value for name, value in _UNUSED.items() if name in known}

    class RayParams(before):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, **chosen})

    return RayParams


def _in_a_session(before: type[Any]) -> type[Any]:
    class Popen(before):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{"start_new_session": True, **kwargs})

    return Popen


def _start_nothing(*_: Any, **__: Any) -> None:
    """The address of the dashboard stays None, as when it fails to start."""


def _not_wanted() -> ImportError:
    """Makes agents start as in an installation without a dashboard."""
    return ImportError("the dashboard is not wanted")
