"""Scaled dot-product attention behind one function, with the kernel chosen by name.

Every attention of every model goes through `attention`, so masks, causality and layout mean
one thing everywhere. A kernel that cannot run where it is asked to is an error at load
(`check_backend`) and never a quiet switch to another one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TypeAlias

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from videogen.errors import ConfigError, MissingDependencyError
from videogen.registry import Registry

Kernel: TypeAlias = Callable[[Tensor, Tensor, Tensor, "Tensor | None", bool], Tensor]


@dataclass(frozen=True)
class Backend:
    """A kernel and what it needs: `package` is the module it imports, `install` what brings it."""

    kernel: Kernel
    package: str | None = None
    install: str = ""
    cuda_only: bool = False
    dtypes: tuple[torch.dtype, ...] | None = None


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    backend: str = "sdpa",
) -> Tensor:
    """Return `softmax(q kᵀ / √width + mask) v`; a query that may attend to nothing gives zeros.

    Args:
        q: queries `b n q width`, heads second.
        k: keys `b n k width`.
        v: values `b n k width`.
        mask: bool, broadcastable to `b 1 q k`; True = attend.
        causal: query `i` sees keys up to `i + k - q`, so that with cached keys in front
            (`k > q`) the last query sees everything.
        backend: a name of `BACKENDS`.

    Returns:
        `b n q width`, in the dtype of `q`.

    Raises:
        ConfigError: unknown backend, or a mask the backend cannot apply.
    """
    assert mask is None or mask.dtype == torch.bool, "a float mask would be added, not applied"
    if q.numel() == 0:  # a rank without tokens; not every kernel takes none
        return q.new_empty(*q.shape[:-1], v.shape[-1])
    return BACKENDS[backend].kernel(q, k, v, mask, causal)


def attention_to_counted(q: Tensor, k: Tensor, v: Tensor, counts: Tensor) -> Tensor:
    """Attention to keys each of which stands for several equal ones; always by SDPA.

    Args:
        q, k, v: as in `attention`.
        counts: `k`, float, how many keys each stands for, at least 1.

    Returns:
        What `attention` gives for each key and value repeated so many times.
    """
    if q.numel() == 0:
        return q.new_empty(*q.shape[:-1], v.shape[-1])
    bias = counts.log().to(q.dtype)[None, None, None]
    bias = bias.expand(len(q), 1, q.shape[2], -1)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def check_backend(name: str, device: str | torch.device, dtype: torch.dtype) -> None:
    """Raise unless the backend called `name` runs on `device` in `dtype`.

    Raises:
        MissingDependencyError: its package cannot be imported; names the extra to install.
        ConfigError: unknown name, or no kernels for the device or the dtype.
    """
    backend = BACKENDS[name]
    problems = _unsupported(name, backend, torch.device(device), dtype)
    if backend.package is not None:
        try:
            importlib.import_module(backend.package)
        except ImportError as error:
            what = f"'{backend.package}' cannot be imported ({error})"
            raise MissingDependencyError(
                f"{_problem(name, [what, *problems])} Fix: {backend.install}, "
                "or choose 'sdpa', which runs everywhere."
            ) from error
    if problems:
        raise ConfigError(f"{_problem(name, problems)} Fix: choose 'sdpa', which runs everywhere.")


def _unsupported(
    name: str, backend: Backend, device: torch.device, dtype: torch.dtype
) -> list[str]:
    problems = []
    if backend.cuda_only and device.type != "cuda":
        problems.append(f"{name} has CUDA kernels only, no {device.type.upper()} kernels")
    if backend.dtypes is not None and dtype not in backend.dtypes:
        legal = ", ".join(str(known).removeprefix("torch.") for known in backend.dtypes)
        problems.append(f"{name} has no {str(dtype).removeprefix('torch.')} kernels, only {legal}")
    return problems


def _problem(name: str, problems: list[str]) -> str:
    return (
        f"attention backend: got '{name}', expected one that can run here; {'; '.join(problems)}."
    )


def _causal_mask(num_queries: int, num_keys: int, device: torch.device) -> Tensor:
    """Bool `q k`, aligned so that the last query sees every key."""
    ones = torch.ones(num_queries, num_keys, dtype=torch.bool, device=device)
    return ones.tril(num_keys - num_queries)


def _merged_mask(q: Tensor, k: Tensor, mask: Tensor | None, causal: bool) -> Tensor | None:
    if not causal:
        return mask
    lower = _causal_mask(q.shape[-2], k.shape[-2], q.device)
    return lower if mask is None else mask & lower


def _is_square(q: Tensor, k: Tensor) -> bool:
    return q.shape[-2] == k.shape[-2]


def _sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    if causal and mask is None and _is_square(q, k):
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return functional.scaled_dot_product_attention(
        q, k, v, attn_mask=_merged_mask(q, k, mask, causal)
    )


def _xformers(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    ops = importlib.import_module("xformers.ops")
    merged = None
    if causal and mask is None and _is_square(q, k):
        bias = ops.LowerTriangularMask()
    else:
        merged = _merged_mask(q, k, mask, causal)
        bias = None if merged is None else _additive_bias(merged, q, k)
    layout = "b n s width -> b s n width"
    out = ops.memory_efficient_attention(
        rearrange(q, layout), rearrange(k, layout), rearrange(v, layout), attn_bias=bias
    )
    out = rearrange(out, "b s n width -> b n s width")
    return out if merged is None else out * merged.any(-1, keepdim=True)


def _additive_bias(mask: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """Bias `b n q k` of 0 and a large negative number, rows aligned to 8 as xformers demands.

    Finite, so that a row without any key stays finite; `_xformers` then sets it to zero.
    """
    b, n, num_queries, num_keys = *q.shape[:3], k.shape[2]
    blocked = torch.finfo(q.dtype).min / 2
    rows = torch.broadcast_to(mask, (*mask.shape[:-1], num_keys))
    bias = q.new_zeros(*rows.shape[:-1], -(-num_keys // 8) * 8)[..., :num_keys]
    return bias.masked_fill_(~rows, blocked).expand(b, n, num_queries, num_keys)


def _flash(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    flash = importlib.import_module("flash_attn")
    if mask is not None:
        if causal or not _is_key_padding(mask):
            raise ConfigError(
                f"attention mask: got shape {tuple(mask.shape)}, causal={causal} with the backend "
                "'flash', expected a key padding mask 'b 1 1 k'. Fix: choose 'sdpa' or 'xformers'."
            )
        return _flash_padded(flash, q, k, v, mask)
    layout = "b n s width -> b s n width"
    out = flash.flash_attn_func(
        rearrange(q, layout), rearrange(k, layout), rearrange(v, layout), causal=causal
    )
    return rearrange(out, "b s n width -> b n s width")


def _is_key_padding(mask: Tensor) -> bool:
    return all(size == 1 for size in mask.shape[-3:-1])


def _flash_padded(flash: ModuleType, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Drop the padded keys and run the variable-length kernel."""
    b, _, num_queries, _ = q.shape
    keep = rearrange(mask.expand(b, 1, 1, k.shape[2]), "b 1 1 k -> b k")
    counts = keep.sum(1)
    layout = "b n s width -> b s n width"
    out = flash.flash_attn_varlen_func(
        rearrange(q, "b n s width -> (b s) n width"),
        rearrange(k, layout)[keep],
        rearrange(v, layout)[keep],
        cu_seqlens_q=_offsets(counts.new_full((b,), num_queries)),
        cu_seqlens_k=_offsets(counts),
        max_seqlen_q=num_queries,
        max_seqlen_k=int(counts.max()),
    )
    return rearrange(out, "(b s) n width -> b n s width", b=b)


def _offsets(counts: Tensor) -> Tensor:
    return functional.pad(counts.cumsum(0), (1, 0)).to(torch.int32)


_HALF = (torch.float16, torch.bfloat16)
BACKENDS: Registry[Backend] = Registry(
    "attention backend",
    {
        "sdpa": Backend(_sdpa),
        "xformers": Backend(
            _xformers,
            package="xformers.ops",
            install="pip install xformers",
            cuda_only=True,
            dtypes=(*_HALF, torch.float32),
        ),
        "flash": Backend(
            _flash,
            package="flash_attn",
            install="pip install flash-attn --no-build-isolation",
            cuda_only=True,
            dtypes=_HALF,
        ),
    },
)
