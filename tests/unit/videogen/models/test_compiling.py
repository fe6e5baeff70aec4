from __future__ import annotations

import torch

from videogen.models.compiling import compile_blocks
from videogen.models.config import DiTConfig
from videogen.models.dit import SpacetimeDiT
from videogen.models.text import TextEmbedding
from videogen.models.wan.config import WanConfig
from videogen.models.wan.transformer import WanTransformer

CHANNELS, TEXT = 4, 20


def default():
    return SpacetimeDiT(
        DiTConfig(in_channels=CHANNELS, width=24, depth=3, num_heads=2, text_width=TEXT)
    )


def wan():
    sizes = {"num_attention_heads": 2, "attention_head_dim": 12, "ffn_dim": 32, "num_layers": 3}
    channels = {"in_channels": CHANNELS, "out_channels": CHANNELS}
    return WanTransformer(WanConfig(**sizes, **channels, text_dim=TEXT, freq_dim=16))


@torch.inference_mode()
def predictions(dit):
    generator = torch.Generator().manual_seed(0)
    made = []
    for t, h, w, words in ((5, 6, 14, 9), (3, 4, 6, 5), (7, 8, 8, 4)):
        tokens = torch.randn(1, words, TEXT, generator=generator)
        text = TextEmbedding(tokens, torch.ones(1, words).bool(), tokens[:, 0])
        latents = torch.randn(1, CHANNELS, t, h, w, generator=generator)
        made.append(dit(latents, torch.tensor([500.0]), text=text))
    return made


def check(make):
    dit = make().eval().requires_grad_(False)
    for parameter in dit.parameters():
        parameter.data = 0.2 * torch.randn_like(parameter)
    expected, graphs = predictions(dit), []

    def backend(graph, examples):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compile_blocks(dit, "blocks", backend)
    for ours, one in zip(predictions(dit), expected, strict=True):
        torch.testing.assert_close(ours, one)
    return graphs


def test_one_graph_serves_all_blocks_of_the_default_model_and_all_sizes():
    assert len(check(default)) == 1


def test_one_graph_serves_all_blocks_of_wan_and_all_sizes():
    assert len(check(wan)) == 1
