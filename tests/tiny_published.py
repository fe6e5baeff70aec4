"""Pipelines of published kinds with random weights, written by diffusers' own `save_pretrained`."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

WORDS = ["a", "red", "blue", "circle", "square", "moving", "right"]
T5_SIZE: dict[str, Any] = {
    "vocab_size": 16,
    "d_model": 20,
    "d_kv": 8,
    "d_ff": 24,
    "num_layers": 2,
    "num_heads": 2,
    "decoder_start_token_id": 0,
    "feed_forward_proj": "gated-gelu",
}
CLIP_SIZE: dict[str, Any] = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
CLIP_TOKENS = (CLIP_SIZE["image_size"] // CLIP_SIZE["patch_size"]) ** 2 + 1
WAN_SIZE: dict[str, Any] = {
    "num_attention_heads": 3,
    "attention_head_dim": 28,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 20,
    "freq_dim": 16,
    "ffn_dim": 50,
    "num_layers": 2,
}
WAN_IMAGE: dict[str, Any] = {"in_channels": 12, "image_dim": 24, "added_kv_proj_dim": 84}
WAN_VAE_SIZE: dict[str, Any] = {
    "base_dim": 8,
    "z_dim": 4,
    "num_res_blocks": 1,
    "latents_mean": [0.1, -0.2, 0.3, -0.4],
    "latents_std": [1.5, 0.5, 2.0, 1.0],
}
WAN_SCHEDULER: dict[str, Any] = {
    "prediction_type": "flow_prediction",
    "use_flow_sigmas": True,
    "flow_shift": 3.0,
}
LATTE_SIZE: dict[str, Any] = {
    "num_attention_heads": 3,
    "attention_head_dim": 12,
    "in_channels": 4,
    "out_channels": 8,
    "num_layers": 2,
    "cross_attention_dim": 36,
    "attention_bias": True,
    "sample_size": 8,
    "patch_size": 2,
    "activation_fn": "gelu-approximate",
    "num_embeds_ada_norm": 1000,
    "norm_type": "ada_norm_single",
    "norm_elementwise_affine": False,
    "norm_eps": 1e-6,
    "caption_channels": 20,
    "video_length": 5,
}
IMAGE_VAE_SIZE: dict[str, Any] = {
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "block_out_channels": [32, 32, 64],
    "layers_per_block": 2,
    "latent_channels": 4,
}
DDIM: dict[str, Any] = {"clip_sample": False, "beta_start": 1e-4, "beta_end": 0.02}


def draw(module: Any, seed: int = 0, gain: float = 1.0) -> Any:
    """Random weights that use every part and neither vanish nor grow; in evaluation mode.

    A fresh model would not do: its gates are zeros, its norms ones and its biases zeros.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        is_norm = "norm" in name and name.endswith(("weight", "gamma"))
        fan_in = parameter[0].numel() if parameter.ndim > 1 and not is_norm else 9
        noise = torch.randn(parameter.shape, generator=generator) * gain / fan_in**0.5
        parameter.data = noise + (1.0 if is_norm else 0.0)
    return module.eval().requires_grad_(False)


def t5_tokenizer(folder: Path) -> Any:
    """A word-level T5 tokenizer, written to a folder and read back."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"▁{w}", -2.0) for w in WORDS)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    fields = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0}
    (folder / "tokenizer_config.json").write_text(json.dumps(fields))
    return transformers.AutoTokenizer.from_pretrained(folder)


def wan_pipeline(
    folder: Path,
    *,
    image: bool = False,
    num_pictures: int = 1,
    experts: bool = False,
    scheduler: Any = None,
    shard: str = "10GB",
    size: Mapping[str, Any] = MappingProxyType({}),
    vae: Mapping[str, Any] = MappingProxyType({}),
) -> Any:
    """Write a tiny Wan pipeline to `folder` and return it.

    Args:
        image: image-to-video.
        num_pictures: 2 for a model of first and last frame, whose tokens have positions.
        experts: two transformers, as Wan 2.2 has them.
        scheduler: a scheduler of diffusers; None is UniPC as published.
        shard: largest size of a weight file.
        size, vae: fields of the transformer's and the VAE's configuration; with `vae`, it is
            otherwise as published.
    """
    diffusers: Any = importlib.import_module("diffusers")
    transformers: Any = importlib.import_module("transformers")
    size = WAN_SIZE | (WAN_IMAGE if image else {}) | dict(size)
    if num_pictures > 1:
        size |= {"pos_embed_seq_len": num_pictures * CLIP_TOKENS}
    parts: dict[str, Any] = {
        "tokenizer": t5_tokenizer(folder / "tokenizer"),
        "text_encoder": draw(transformers.UMT5EncoderModel(transformers.UMT5Config(**T5_SIZE))),
        "transformer": draw(diffusers.WanTransformer3DModel(**size), seed=1),
        "vae": draw(diffusers.AutoencoderKLWan(**vae or WAN_VAE_SIZE), seed=2),
        "scheduler": scheduler or diffusers.UniPCMultistepScheduler(**WAN_SCHEDULER),
    }
    if experts:
        low = draw(diffusers.WanTransformer3DModel(**size), seed=3)
        parts |= {"transformer_2": low, "boundary_ratio": 0.875}
    kind = diffusers.WanImageToVideoPipeline if image else diffusers.WanPipeline
    if image:
        encoder = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**CLIP_SIZE))
        parts |= {"image_encoder": draw(encoder, seed=4), "image_processor": clip_processor()}
    pipeline = kind(**parts)
    pipeline.save_pretrained(folder, max_shard_size=shard)
    return pipeline


def latte_pipeline(folder: Path, *, across_frames: bool = False, scheduler: Any = None) -> Any:
    """Write a tiny Latte pipeline to `folder` and return it.

    Args:
        across_frames: decode with the VAE whose decoder works across frames; both are written.
        scheduler: a scheduler of diffusers; None is DDIM.
    """
    diffusers: Any = importlib.import_module("diffusers")
    transformers: Any = importlib.import_module("transformers")
    up = {"up_block_types": ["UpDecoderBlock2D"] * 3}
    alone = draw(diffusers.AutoencoderKL(**IMAGE_VAE_SIZE, **up), seed=2)
    together = draw(diffusers.AutoencoderKLTemporalDecoder(**IMAGE_VAE_SIZE), seed=3)
    pipeline = diffusers.LattePipeline(
        tokenizer=t5_tokenizer(folder / "tokenizer"),
        text_encoder=draw(transformers.T5EncoderModel(transformers.T5Config(**T5_SIZE))),
        transformer=draw(diffusers.LatteTransformer3DModel(**LATTE_SIZE), seed=1),
        vae=alone,
        scheduler=scheduler or diffusers.DDIMScheduler(**DDIM),
    )
    pipeline.save_pretrained(folder)
    together.save_pretrained(folder / "vae_temporal_decoder")
    if across_frames:
        pipeline.vae = together
    return pipeline


def clip_processor() -> Any:
    """CLIP's preparation of pictures, by Pillow, for the side of `CLIP_SIZE`."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    side = CLIP_SIZE["image_size"]
    crop = {"height": side, "width": side}
    return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=crop)
