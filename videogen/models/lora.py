"""Low-rank adapters (Hu et al. 2106.09685) from files, added to a transformer's weights at load.

Read are the key formats of PEFT and diffusers (`transformer.blocks.0.attn1.to_q.lora_A.weight`), of
models in their original layout (`diffusion_model.blocks.0.self_attn.q.lora_down.weight`) and of
kohya's scripts (`lora_unet_blocks_0_self_attn_q.lora_down.weight` with an `.alpha`). Merged once,
adapters cost nothing per step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from videogen.errors import WeightsError
from videogen.models.lora_file import LoraFile, Scaling, read_lora_file
from videogen.models.misfits import listed
from videogen.models.variant import Lora
from videogen.models.wan.original import transformer_name

_ROOTS = ("base_model.model.", "diffusion_model.")
"""What may stand before the names of a transformer's own weights."""
_KOHYA = "lora_unet_"
_EXPERTS = {"transformer_2.": "low.", "transformer.": "high."}
_DOWN = (".lora_A.default", ".lora_A", ".lora_down", ".lora.down")
_UP = (".lora_B.default", ".lora_B", ".lora_up", ".lora.up")


@dataclass
class _Pair:
    """An adapter of one layer: `up @ down`, scaled."""

    down: Tensor | None = None
    up: Tensor | None = None
    alpha: float | None = None
    keys: list[str] = field(default_factory=list)


def merge_lora(dit: nn.Module, lora: Lora) -> None:
    """Add an adapter to the weights of a transformer, in place.

    Args:
        dit: on any device but meta, in any dtype; sums are taken in float32.

    Raises:
        WeightsError: the file cannot be read, or holds a key or a shape that fits no weight.
        ConfigError: its adapters are of a kind that cannot be added.
    """
    file = read_lora_file(lora.path)
    names = _names_of(dit)
    pairs, strangers = _pairs_of(file, names)
    strangers += [key for p in pairs.values() if None in (p.down, p.up) for key in p.keys]
    if strangers or not pairs:
        what = listed(sorted(strangers)) if strangers else "no key of an adapter"
        raise WeightsError(
            f"{file.path}: got {len(strangers)} keys that fit no weight of the model ({what}), "
            "expected those of its transformer. Fix: use an adapter that was made for this model."
        )
    weights = dict(dit.named_parameters())
    changes = {name: (pair, _checked(file, name, pair, weights)) for name, pair in pairs.items()}
    for name, (pair, weight) in changes.items():
        _add(weight, pair, lora.scale * _scale(pair, file.scaling, name))


def _names_of(dit: nn.Module) -> dict[str, str]:
    """Layers that have a weight, by every name that a file may call them."""
    layers = [name.removesuffix(".weight") for name, _ in dit.named_parameters()]
    names = {name: name for name in layers}
    has_experts = any(name.startswith("high.") for name in layers)
    for name in layers:
        bare = name.removeprefix("high.") if has_experts else name
        names.setdefault(bare, name)
        names.setdefault(_KOHYA + bare.replace(".", "_"), name)
    for told, own in _EXPERTS.items():
        place = own if has_experts else "" if told == "transformer." else None
        if place is not None:
            names |= {
                told + name.removeprefix(place): name for name in layers if name.startswith(place)
            }
    return names


def _pairs_of(file: LoraFile, names: dict[str, str]) -> tuple[dict[str, _Pair], list[str]]:
    """The adapters of a file by layer, and the keys that belong to none."""
    kohya = {name: layer for name, layer in names.items() if name.startswith(_KOHYA)}
    pairs: dict[str, _Pair] = {}
    strangers = []
    for key, tensor in file.tensors.items():
        said, role = _split(key)
        layer = None if role is None else _layer(said, names, kohya)
        if layer is None:
            strangers.append(key)
            continue
        pair = pairs.setdefault(layer, _Pair())
        pair.keys.append(key)
        setattr(pair, str(role), float(tensor) if role == "alpha" else tensor)
    return pairs, strangers


def _split(key: str) -> tuple[str, str | None]:
    """A key as the layer it names and what it is to it."""
    if key.endswith(".alpha"):
        return key.removesuffix(".alpha"), "alpha"
    bare = key.removesuffix(".weight")
    for role, ends in (("down", _DOWN), ("up", _UP)):
        for end in ends:
            if bare.endswith(end):
                return bare.removesuffix(end), role
    return key, None


def _layer(said: str, names: dict[str, str], kohya: dict[str, str]) -> str | None:
    for root in _ROOTS:
        said = said.removeprefix(root)
    if said.startswith(_KOHYA):
        return kohya.get(said) or kohya.get(_KOHYA + _current_kohya(said.removeprefix(_KOHYA)))
    original = transformer_name(f"{said}.weight").removesuffix(".weight")
    return names.get(said) or names.get(original)


def _current_kohya(said: str) -> str:
    """A layer of Wan's original layout, with underscores, as it is called here."""
    dotted = said.replace("self_attn_", "attn1_").replace("cross_attn_", "attn2_")
    for old, new in (("ffn_0", "ffn_net_0_proj"), ("ffn_2", "ffn_net_2")):
        dotted = f"{dotted.removesuffix(old)}{new}" if dotted.endswith(old) else dotted
    for old in "qkv":
        dotted = dotted.replace(f"_{old}_img", f"_add_{old}_proj")
        if dotted.endswith(f"_{old}"):
            dotted = f"{dotted[:-1]}to_{old}"
    return f"{dotted[:-1]}to_out_0" if dotted.endswith("_o") else dotted


def _checked(file: LoraFile, name: str, pair: _Pair, weights: dict[str, Any]) -> Tensor:
    """The weight that a pair belongs to, if it fits."""
    weight = weights.get(f"{name}.weight")
    assert pair.down is not None and pair.up is not None, "pairs are whole"
    expected = None if weight is None else (len(weight), weight[0].numel())
    got = len(pair.up), pair.down[0].numel()
    ranks = len(pair.down), pair.up[0].numel()
    if weight is None or got != expected or ranks[0] != ranks[1]:
        raise WeightsError(
            f"{file.path}: {name}: got adapters {tuple(pair.down.shape)} and "
            f"{tuple(pair.up.shape)}, expected r x {'?' if expected is None else expected[1]} and "
            f"{'?' if expected is None else expected[0]} x r. "
            "Fix: use an adapter that was made for this model."
        )
    return weight


def _scale(pair: _Pair, scaling: Scaling, name: str) -> float:
    assert pair.down is not None, "pairs are whole"
    rank = len(pair.down)
    alpha = scaling.alpha(name) if pair.alpha is None else pair.alpha
    if alpha is None:
        return 1.0
    return alpha / (rank**0.5 if scaling.by_root else rank)


@torch.no_grad()
def _add(weight: Tensor, pair: _Pair, scale: float) -> None:
    assert pair.down is not None and pair.up is not None, "pairs are whole"
    up, down = (part.to(weight.device, torch.float32).flatten(1) for part in (pair.up, pair.down))
    change = (scale * (up @ down)).view(weight.shape)
    weight.copy_(weight.float() + change)
