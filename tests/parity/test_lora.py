"""Adapters merged here, and merged by diffusers and PEFT, give the same predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from videogen.errors import ConfigError, WeightsError
from videogen.models.latte.config import LatteConfig
from videogen.models.latte.transformer import LatteTransformer
from videogen.models.lora import merge_lora
from videogen.models.text import TextEmbedding
from videogen.models.variant import Lora, Variant
from videogen.models.wan.config import WanConfig
from videogen.models.wan.transformer import WanTransformer

pytestmark = pytest.mark.parity
TARGETS = ["to_q", "to_v", "to_out.0", "ffn.net.0.proj"]
SIZES: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "text_dim": 20,
    "freq_dim": 16,
    "ffn_dim": 50,
    "num_layers": 2,
}


def drawn(module: nn.Module, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return module.eval().requires_grad_(False)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def wan() -> WanTransformer:
    return drawn(WanTransformer(WanConfig(**SIZES)))


def predict(dit: WanTransformer) -> Tensor:
    tokens = normal(1, 5, 20, seed=2)
    text = TextEmbedding(tokens, torch.ones(1, 5).bool(), tokens[:, 0])
    return dit(normal(1, 16, 2, 4, 6), torch.tensor([500.0]), text)


def layers(dit: nn.Module) -> dict[str, nn.Linear]:
    return {name: m for name, m in dit.named_modules() if isinstance(m, nn.Linear)}


def adapters(dit: nn.Module, names: list[str], rank: int = 3) -> dict[str, tuple[Tensor, Tensor]]:
    found = layers(dit)
    return {
        name: (
            normal(rank, found[name].in_features, seed=index),
            normal(found[name].out_features, rank, seed=100 + index),
        )
        for index, name in enumerate(names)
    }


def expected_weights(dit: nn.Module, pairs: Any, scale: float) -> dict[str, Tensor]:
    found = layers(dit)
    return {name: found[name].weight + scale * (up @ down) for name, (down, up) in pairs.items()}


def test_as_diffusers_and_peft_merge_them(tmp_path):
    diffusers: Any = pytest.importorskip("diffusers")
    peft: Any = pytest.importorskip("peft")
    theirs = diffusers.WanTransformer3DModel(**SIZES)
    ours = wan()
    theirs.load_state_dict(ours.state_dict())
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=TARGETS, alpha_pattern={"attn1.to_q": 2}
    )
    theirs.add_adapter(config)
    generator = torch.Generator().manual_seed(5)
    for name, parameter in theirs.named_parameters():
        if "lora_" in name:
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    diffusers.WanPipeline.save_lora_weights(
        tmp_path,
        transformer_lora_layers=peft.get_peft_model_state_dict(theirs),
        transformer_lora_adapter_metadata=theirs.peft_config["default"].to_dict(),
    )
    theirs.fuse_lora(lora_scale=0.7)
    before = predict(ours)
    merge_lora(ours, Lora(tmp_path, 0.7))
    tokens = normal(1, 5, 20, seed=2)
    expected = theirs(normal(1, 16, 2, 4, 6), torch.tensor([500.0]), tokens, return_dict=False)[0]
    assert (predict(ours) - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert (before - expected).abs().max() > 1e-2 * expected.abs().max()


@pytest.mark.parametrize(
    ("names", "key"),
    [
        (["blocks.1.attn1.to_q"], "transformer.blocks.1.attn1.to_q.{}"),
        (["blocks.1.attn1.to_q"], "base_model.model.blocks.1.attn1.to_q.{}"),
        (["blocks.1.attn1.to_q"], "diffusion_model.blocks.1.self_attn.q.{}"),
        (["blocks.0.attn2.to_out.0"], "diffusion_model.blocks.0.cross_attn.o.{}"),
        (["blocks.0.attn2.to_out.0"], "lora_unet_blocks_0_cross_attn_o.{}"),
        (["blocks.0.ffn.net.0.proj"], "lora_unet_blocks_0_ffn_0.{}"),
        (["blocks.0.ffn.net.2"], "lora_unet_blocks_0_ffn_net_2.{}"),
    ],
)
@pytest.mark.parametrize("ends", [("lora_A", "lora_B"), ("lora_down", "lora_up")])
def test_names_of_layers(tmp_path, names, key, ends):
    dit = wan()
    pairs = adapters(dit, names)
    (down, up), path = pairs[names[0]], tmp_path / "a.safetensors"
    stem = key.replace(".{}", "")
    tensors = {f"{stem}.{ends[0]}.weight": down, f"{stem}.{ends[1]}.weight": up}
    save_file(tensors | {f"{stem}.alpha": torch.tensor(6.0)}, path)
    expected = expected_weights(dit, pairs, 0.5 * 6 / 3)
    merge_lora(dit, Lora(path, 0.5))
    torch.testing.assert_close(layers(dit)[names[0]].weight, expected[names[0]])


def test_a_factorized_model(tmp_path):
    sizes = {"num_attention_heads": 2, "attention_head_dim": 8, "cross_attention_dim": 16}
    dit = drawn(LatteTransformer(LatteConfig(**sizes, num_layers=1, caption_channels=12)))
    name = "temporal_transformer_blocks.0.attn1.to_k"
    pairs = adapters(dit, [name])
    down, up = pairs[name]
    path = tmp_path / "a.safetensors"
    save_file({f"transformer.{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}, path)
    expected = expected_weights(dit, pairs, 1.0)[name]
    merge_lora(dit, Lora(path))
    torch.testing.assert_close(layers(dit)[name].weight, expected)


def test_what_does_not_fit_is_named_and_nothing_is_changed(tmp_path):
    dit = wan()
    before = {name: value.clone() for name, value in dit.state_dict().items()}
    path, pair = tmp_path / "a.safetensors", adapters(dit, ["blocks.0.attn1.to_q"])
    down, up = pair["blocks.0.attn1.to_q"]
    good = {
        "transformer.blocks.0.attn1.to_q.lora_A.weight": down,
        "transformer.blocks.0.attn1.to_q.lora_B.weight": up,
    }
    wrong = {
        "blocks.9": {"transformer.blocks.9.attn1.to_q.lora_A.weight": down.clone()},
        "text_encoder": {"text_encoder.layer.lora_A.weight": down.clone()},
        "lora_B": {"transformer.blocks.1.attn1.to_q.lora_B.weight": up.clone()},
        "r x": {
            "transformer.blocks.1.attn1.to_q.lora_A.weight": down[:, 1:].contiguous(),
            "transformer.blocks.1.attn1.to_q.lora_B.weight": up.clone(),
        },
    }
    for said, tensors in wrong.items():
        save_file(good | tensors, path)
        with pytest.raises(WeightsError, match=said):
            merge_lora(dit, Lora(path))
    assert all(torch.equal(value, before[name]) for name, value in dit.state_dict().items())


def test_other_kinds_and_formats_are_refused(tmp_path):
    dit = wan()
    (tmp_path / "a.bin").write_bytes(b"pickle")
    with pytest.raises(WeightsError, match="safetensors"):
        merge_lora(dit, Lora(tmp_path / "a.bin"))
    save_file({"x": torch.zeros(1)}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text('{"use_dora": true}')
    with pytest.raises(ConfigError, match="use_dora"):
        merge_lora(dit, Lora(tmp_path))


def test_the_digest_follows_content_and_scale(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    first = Variant((Lora(path),)).digest("base")
    assert Variant().digest("base") == "base"
    assert Variant((Lora(path, 0.5),)).digest("base") != first
    moved = tmp_path / "b.safetensors"
    save_file(load_file(path), moved)
    assert Variant((Lora(moved),)).digest("base") == first
    save_file({"x": torch.ones(1)}, path)
    assert Variant((Lora(path),)).digest("base") != first


@pytest.mark.parametrize(
    ("text", "path", "scale"),
    [("a.safetensors", "a.safetensors", 1.0), ("a:0.8", "a", 0.8), ("c:/a:b", "c:/a:b", 1.0)],
)
def test_paths_with_scales(text, path, scale):
    assert Lora.parse(text) == Lora(Path(path), scale)
