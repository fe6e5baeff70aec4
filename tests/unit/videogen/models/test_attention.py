"""Every backend must agree with softmax written out, or say why it cannot run."""

from __future__ import annotations

import math
import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor

from videogen.errors import ConfigError, MissingDependencyError
from videogen.models import attention as module
from videogen.models.attention import attention, check_backend


def written_out(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Softmax attention, the causal rule in loops; rows without keys give zeros."""
    num_queries, num_keys = q.shape[-2], k.shape[-2]
    keep = torch.ones(num_queries, num_keys, dtype=torch.bool, device=q.device)
    if causal:
        for i in range(num_queries):
            for j in range(num_keys):
                keep[i, j] = j <= i + num_keys - num_queries
    if mask is not None:
        keep = keep & mask
    scores = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).exp() * keep
    return scores / scores.sum(-1, keepdim=True).clamp_min(1e-300) @ v


def tensors(
    num_queries: int, num_keys: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, length, 8) for length in (num_queries, num_keys, num_keys)]
    q, k, v = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return q.to(dtype), k.to(dtype), v.to(dtype)


def masks(num_queries: int, num_keys: int) -> dict[str, Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    padding = torch.arange(num_keys) < torch.tensor([num_keys - 2, 1])[:, None]
    per_query = torch.rand(2, 1, num_queries, num_keys, generator=generator) < 0.5
    per_query[0, 0, -1] = False
    return {
        "none": None,
        "padding": padding[:, None, None, :],
        "per query": per_query,
        "shared": per_query[1, 0],
    }


KINDS = ("none", "padding", "per query", "shared")
LENGTHS = ((5, 5), (3, 7), (1, 6))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_queries,num_keys", [(5, 5), (3, 7)])
def test_sdpa_equals_softmax_written_out(num_queries, num_keys, kind, causal):
    q, k, v = tensors(num_queries, num_keys)
    mask = masks(num_queries, num_keys)[kind]
    expected = written_out(q, k, v, mask, causal)
    torch.testing.assert_close(attention(q, k, v, mask, causal=causal), expected)


def test_masked_values_do_not_reach_the_output():
    q, k, v = tensors(4, 6)
    mask = masks(4, 6)["padding"]
    assert mask is not None
    poisoned = torch.where(mask.transpose(-1, -2), v, torch.full_like(v, 1e6))
    torch.testing.assert_close(attention(q, k, poisoned, mask), attention(q, k, v, mask))


def test_a_query_without_keys_gives_zeros():
    q, k, v = tensors(4, 6)
    mask = torch.ones(2, 1, 4, 6, dtype=torch.bool)
    mask[1, 0, 2] = False
    out = attention(q, k, v, mask)
    assert out[1, :, 2].abs().max() == 0
    assert out[0, :, 2].abs().min() > 0


def test_causal_queries_over_cached_keys_equal_the_tail_of_the_full_result():
    q, k, v = tensors(7, 7)
    full = attention(q, k, v, causal=True)
    torch.testing.assert_close(attention(q[:, :, 4:], k, v, causal=True), full[:, :, 4:])


def test_a_float_mask_is_refused():
    q, k, v = tensors(4, 4)
    with pytest.raises(AssertionError, match="float mask"):
        attention(q, k, v, torch.zeros(4, 4))


def test_unknown_backend_names_the_known_ones():
    q, k, v = tensors(2, 2)
    with pytest.raises(ConfigError, match=r"flash, sdpa, xformers\. Did you mean 'sdpa'"):
        attention(q, k, v, backend="sdp")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_sdpa_runs_everywhere(dtype):
    check_backend("sdpa", "cpu", dtype)
    check_backend("sdpa", torch.device("cuda"), dtype)


@pytest.mark.parametrize(
    "name,package,fix",
    [("xformers", "xformers", "xformers"), ("flash", "flash_attn", "flash-attn")],
)
def test_a_missing_package_names_what_to_install(name, package, fix, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.ops", None)
    with pytest.raises(MissingDependencyError) as caught:
        check_backend(name, "cuda", torch.float16)
    assert f"pip install {fix}" in str(caught.value)
    assert package in str(caught.value)


@pytest.mark.parametrize("name", ["xformers", "flash"])
def test_an_installed_backend_says_that_it_has_no_cpu_kernels(name, monkeypatch):
    install_fakes(monkeypatch)
    with pytest.raises(ConfigError, match=f"{name} has CUDA kernels only, no CPU kernels"):
        check_backend(name, "cpu", torch.float16)
    check_backend(name, "cuda", torch.float16)


def test_an_unsupported_dtype_is_named_with_the_supported_ones(monkeypatch):
    install_fakes(monkeypatch)
    with pytest.raises(ConfigError, match="no float32 kernels, only float16, bfloat16"):
        check_backend("flash", "cuda", torch.float32)


class LowerTriangularMask:
    """Stands for xformers' type of that name: causal, aligned to the top left."""


def fake_xformers_attention(query, key, value, attn_bias=None):
    """What xformers documents: layout `b s n k`; a bias is additive and has every axis in full."""
    b, num_queries, n, width = query.shape
    scores = torch.einsum("bqnw,bknw->bnqk", query, key) / math.sqrt(width)
    if isinstance(attn_bias, LowerTriangularMask):
        keep = torch.ones(num_queries, key.shape[1], dtype=torch.bool).tril()
        scores = scores.masked_fill(~keep, -math.inf)
    elif attn_bias is not None:
        assert attn_bias.shape == (b, n, num_queries, key.shape[1])
        assert attn_bias.dtype == query.dtype
        assert all(stride % 8 == 0 for stride in attn_bias.stride()[:-1])
        assert attn_bias.stride(-1) <= 1
        scores = scores + attn_bias
    return torch.einsum("bnqk,bknw->bqnw", scores.softmax(-1), value)


def fake_flash_attention(q, k, v, *, causal=False):
    """What flash-attn documents: layout `b s n k`; causal is aligned to the bottom right."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return written_out(q, k, v, None, causal).transpose(1, 2)


def fake_flash_varlen(q, k, v, *, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k):
    """What flash-attn documents: sequences laid end to end, `(total, n, k)`, int32 offsets."""
    assert cu_seqlens_q.dtype == cu_seqlens_k.dtype == torch.int32
    assert max_seqlen_q == int(cu_seqlens_q.diff().max())
    assert max_seqlen_k == int(cu_seqlens_k.diff().max())
    parts = []
    for i in range(len(cu_seqlens_q) - 1):
        rows = slice(int(cu_seqlens_q[i]), int(cu_seqlens_q[i + 1]))
        columns = slice(int(cu_seqlens_k[i]), int(cu_seqlens_k[i + 1]))
        parts.append(fake_flash_attention(q[None, rows], k[None, columns], v[None, columns])[0])
    return torch.cat(parts)


def install_fakes(monkeypatch) -> None:
    ops, flash = ModuleType("xformers.ops"), ModuleType("flash_attn")
    vars(ops).update(
        memory_efficient_attention=fake_xformers_attention, LowerTriangularMask=LowerTriangularMask
    )
    vars(flash).update(
        flash_attn_func=fake_flash_attention, flash_attn_varlen_func=fake_flash_varlen
    )
    package = ModuleType("xformers")
    for fake in (package, ops, flash):
        monkeypatch.setitem(sys.modules, fake.__name__, fake)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_queries,num_keys", LENGTHS)
def test_xformers_layout_and_masks(num_queries, num_keys, kind, causal, monkeypatch):
    install_fakes(monkeypatch)
    q, k, v = tensors(num_queries, num_keys)
    mask = masks(num_queries, num_keys)[kind]
    expected = attention(q, k, v, mask, causal=causal)
    got = attention(q, k, v, mask, causal=causal, backend="xformers")
    torch.testing.assert_close(got, expected)


def test_xformers_bias_is_finite_in_half_precision():
    q, k, _ = tensors(3, 7, torch.float16)
    bias = module._additive_bias(torch.zeros(3, 7, dtype=torch.bool), q, k)
    assert torch.isfinite(bias).all() and bias.max() < -10_000


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("num_queries,num_keys", LENGTHS)
def test_flash_layout(num_queries, num_keys, causal, monkeypatch):
    install_fakes(monkeypatch)
    q, k, v = tensors(num_queries, num_keys)
    got = attention(q, k, v, causal=causal, backend="flash")
    torch.testing.assert_close(got, written_out(q, k, v, None, causal))


def test_flash_drops_padded_keys(monkeypatch):
    install_fakes(monkeypatch)
    q, k, v = tensors(4, 6)
    mask = masks(4, 6)["padding"]
    got = attention(q, k, v, mask, backend="flash")
    torch.testing.assert_close(got, written_out(q, k, v, mask, False))


@pytest.mark.parametrize(
    "kind,causal", [("per query", False), ("shared", False), ("padding", True)]
)
def test_flash_refuses_masks_it_has_no_kernel_for(kind, causal, monkeypatch):
    install_fakes(monkeypatch)
    q, k, v = tensors(4, 6)
    with pytest.raises(ConfigError, match=r"key padding mask.*choose 'sdpa' or 'xformers'"):
        attention(q, k, v, masks(4, 6)[kind], causal=causal, backend="flash")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name,package", [("xformers", "xformers.ops"), ("flash", "flash_attn")])
def test_real_kernels_agree_with_sdpa(name, package, kind):
    pytest.importorskip(package)
    q, k, v = (x.cuda() for x in tensors(16, 24, torch.float16))
    mask = masks(16, 24)[kind]
    if name == "flash" and kind in ("per query", "shared"):
        pytest.skip("no kernel for masks that differ between queries")
    mask = None if mask is None else mask.cuda()
    got = attention(q, k, v, mask, backend=name)
    torch.testing.assert_close(got, attention(q, k, v, mask), atol=4e-3, rtol=4e-3)
