"""Denoising steps that use the work of earlier ones again: faster, and not quite the same clip.

`first_block`: what all blocks but the first add to the tokens changes slowly; while the first
block's own share has changed little since, the rest is taken from the last step that computed it
(First Block Cache; TeaCache, 2411.19108, measures the timestep's modulation instead). `pyramid`:
what attention adds is used again for a few steps, along space for the fewest, to text for the most
(pyramid attention broadcast, 2408.12588).

Modules are wrapped from outside. What is remembered belongs to one half of guidance of one stretch
of a clip, a `StepMemory`, and is found through a context variable, so that halves that are computed
in turns in two threads never mix.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from videogen.errors import ConfigError
from videogen.models.block_lists import NAMES
from videogen.models.variant import StepCache

_CURRENT: ContextVar[StepMemory | None] = ContextVar("step memory", default=None)
_KINDS = ("space", "time", "text")


class StepMemory:
    """What one denoiser remembers from step to step."""

    def __init__(self, cache: StepCache, num_steps: int) -> None:
        self.cache = cache
        self.num_steps = num_steps
        self.step = -1
        self.kept: dict[object, Any] = {}

    @property
    def may_reuse(self) -> bool:
        """Whether this step is one in which anything may be used again."""
        share = self.step / max(1, self.num_steps)
        return self.cache.start <= share < self.cache.end


def remembering(model: Callable[..., Tensor], memory: StepMemory) -> Callable[..., Tensor]:
    """`model`, each of whose calls is the next step of `memory`."""

    def step(*args: Any, **kwargs: Any) -> Tensor:
        memory.step += 1
        token = _CURRENT.set(memory)
        try:
            return model(*args, **kwargs)
        finally:
            _CURRENT.reset(token)

    return step


def install_step_cache(dit: nn.Module, cache: StepCache) -> None:
    """Wrap the blocks, or the attentions, of a transformer, which is altered.

    Raises:
        ConfigError: `pyramid` for a model that attends over space and time at once.
    """
    for transformer in _transformers(dit):
        if cache.kind == "first_block":
            _wrap_blocks(transformer)
        else:
            _wrap_attentions(transformer)


def _transformers(dit: nn.Module) -> list[nn.Module]:
    """The transformer itself, or the experts that it is made of."""
    experts = [child for child in dit.children() if hasattr(child, "layout")]
    return experts or [dit]


class _Run:
    """What the blocks of one transformer decide together."""

    def __init__(self, transformer: nn.Module) -> None:
        self._transformer = transformer

    def total(self, sums: Tensor) -> Tensor:
        """Sums over this rank's tokens, over those of all ranks that share the tokens."""
        layout: Any = self._transformer.layout
        return layout.total(sums)


class CachedBlock(nn.Module):
    """A block in its place among those that may be left out."""

    def __init__(self, inner: nn.Module, run: _Run, index: int, is_last: bool) -> None:
        super().__init__()
        self.inner = inner
        self._run, self._index, self._is_last = run, index, is_last

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        memory = _CURRENT.get()
        if memory is None:
            return self.inner(x, *args)
        if self._index == 0:
            out = self.inner(x, *args)
            memory.kept[self._run, "reuses"] = self._decide(memory, out - x)
            return out
        if memory.kept[self._run, "reuses"]:
            return x + memory.kept[self._run, "rest"] if self._is_last else x
        if self._index == 1:
            memory.kept[self._run, "entered"] = x
        out = self.inner(x, *args)
        if self._is_last:
            memory.kept[self._run, "rest"] = out - memory.kept.pop((self._run, "entered"))
        return out

    def _decide(self, memory: StepMemory, change: Tensor) -> bool:
        """Whether the rest is used again, the same on every rank; keeps what decides next time."""
        before = memory.kept.get((self._run, "change"))
        memory.kept[self._run, "change"] = change
        has_rest = (self._run, "rest") in memory.kept
        if before is None or before.shape != change.shape or not has_rest or not memory.may_reuse:
            memory.kept[self._run, "drift"] = 0.0
            return False
        sums = torch.stack([(change - before).float().abs().sum(), before.float().abs().sum()])
        moved, size = self._run.total(sums.double()).tolist()
        drift = memory.kept[self._run, "drift"] + moved / max(size, 1e-12)
        reuses = drift < memory.cache.threshold
        memory.kept[self._run, "drift"] = drift if reuses else 0.0
        return reuses


class BroadcastAttention(nn.Module):
    """An attention whose result is used again for some steps."""

    def __init__(self, inner: nn.Module, kind: str) -> None:
        super().__init__()
        self.inner = inner
        self._place = _KINDS.index(kind)
        if hasattr(inner, "axis"):
            self.axis = inner.axis

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        memory = _CURRENT.get()
        if memory is None:
            return self.inner(x, *args)
        step, out = memory.kept.get(self, (-1, None))
        is_recent = memory.step - step < memory.cache.ranges[self._place]
        if out is not None and out.shape == x.shape and memory.may_reuse and is_recent:
            return out
        out = self.inner(x, *args)
        memory.kept[self] = memory.step, out
        return out


def _wrap_blocks(transformer: nn.Module) -> None:
    lists: list[Any] = [getattr(transformer, name, None) for name in NAMES]
    lists = [blocks for blocks in lists if isinstance(blocks, nn.ModuleList)]
    run, num_blocks = _Run(transformer), sum(map(len, lists))
    # Blocks of several lists take turns.
    order = [blocks for _ in range(len(lists[0])) for blocks in lists]
    for index, blocks in enumerate(order):
        place, is_last = index // len(lists), index == num_blocks - 1
        blocks[place] = CachedBlock(blocks[place], run, index, is_last)


def _wrap_attentions(transformer: nn.Module) -> None:
    for module in list(transformer.modules()):
        for name, child in list(module.named_children()):
            kind = _kind(child)
            if kind == "spacetime":
                raise ConfigError(
                    "cache.kind: got pyramid for a model that attends over space and time at once, "
                    "expected a factorized one. Fix: use first_block."
                )
            if kind is not None:
                setattr(module, name, BroadcastAttention(child, kind))


def _kind(module: nn.Module) -> str | None:
    """What a module attends along, if it is an attention of a transformer."""
    if hasattr(module, "axis") and hasattr(module, "attend"):
        return str(module.axis)
    return "text" if getattr(module, "attends_to_text", False) else None
