"""Seven published kinds of pipelines with random weights, written by diffusers' `save_pretrained`.

They are as small as their classes allow, and made on the spot: nothing is downloaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.tiny_published import T5_SIZE, WORDS, draw, t5_tokenizer, wan_pipeline

CLIP_TEXT: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 77,
    "projection_dim": 16,
}
IMAGE_VAE: dict[str, Any] = {
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "block_out_channels": [16, 16],
    "norm_num_groups": 8,
    "latent_channels": 4,
    "sample_size": 32,
}
UNET: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": [16, 32],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": 8,
}
_CROSS = {
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
}
_IF_CROSS = {
    "down_block_types": ["ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"],
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "up_block_types": ["SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"],
    "encoder_hid_dim": 20,
    "encoder_hid_dim_type": "text_proj",
    "cross_attention_dim": 16,
    "addition_embed_type": "text",
    "addition_embed_type_num_heads": 2,
    "act_fn": "gelu",
    "resnet_time_scale_shift": "scale_shift",
    "out_channels": 6,
}


def _diffusers() -> Any:
    return importlib.import_module("diffusers")


def clip_tokenizer(folder: Path) -> Any:
    """A CLIP tokenizer of single letters, written to a folder."""
    transformers: Any = importlib.import_module("transformers")
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>"]
    vocabulary = {piece: index for index, piece in enumerate([*pieces, "<|endoftext|>"])}
    tokenizer = transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _clip(kind: str = "CLIPTextModel", seed: int = 5) -> Any:
    transformers: Any = importlib.import_module("transformers")
    ends = {"bos_token_id": 52, "eos_token_id": 53, "pad_token_id": 53}
    config = transformers.CLIPTextConfig(vocab_size=54, **ends, **CLIP_TEXT)
    return draw(getattr(transformers, kind)(config), seed=seed)


def _t5() -> Any:
    transformers: Any = importlib.import_module("transformers")
    return draw(transformers.T5EncoderModel(transformers.T5Config(**T5_SIZE)))


def stable_diffusion(folder: Path) -> str:
    """A tiny Stable Diffusion, 32×32; returns what `--model` names it by."""
    diffusers = _diffusers()
    diffusers.StableDiffusionPipeline(
        tokenizer=clip_tokenizer(folder / "tokenizer"),
        text_encoder=_clip(),
        unet=draw(diffusers.UNet2DConditionModel(**UNET, **_CROSS, cross_attention_dim=16), 1),
        vae=draw(diffusers.AutoencoderKL(**IMAGE_VAE), 2),
        scheduler=diffusers.PNDMScheduler(skip_prk_steps=True, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return f"diffusers:{folder}"


def stable_diffusion_3(folder: Path) -> str:
    """A tiny Stable Diffusion 3 with its three text encoders, 32×32."""
    diffusers = _diffusers()
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        pos_embed_max_size=16,
    )
    diffusers.StableDiffusion3Pipeline(
        transformer=draw(transformer, 1),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=draw(diffusers.AutoencoderKL(**IMAGE_VAE, shift_factor=0.06), 2),
        text_encoder=_clip("CLIPTextModelWithProjection", 5),
        tokenizer=clip_tokenizer(folder / "tokenizer"),
        text_encoder_2=_clip("CLIPTextModelWithProjection", 6),
        tokenizer_2=clip_tokenizer(folder / "tokenizer_2"),
        text_encoder_3=_wide_t5(32),
        tokenizer_3=t5_tokenizer(folder / "tokenizer_3"),
    ).save_pretrained(folder)
    return f"diffusers:{folder}"


def _wide_t5(width: int) -> Any:
    transformers: Any = importlib.import_module("transformers")
    return draw(transformers.T5EncoderModel(transformers.T5Config(**T5_SIZE | {"d_model": width})))


def deepfloyd_if(folder: Path) -> str:
    """A tiny DeepFloyd IF: 16×16, then 32×32 without a text encoder of its own."""
    diffusers = _diffusers()
    ddpm = {"variance_type": "learned_range", "beta_schedule": "squaredcos_cap_v2"}
    nothing = {"safety_checker": None, "feature_extractor": None, "watermarker": None}
    first = diffusers.UNet2DConditionModel(**UNET, **_IF_CROSS, in_channels=3)
    second = diffusers.UNet2DConditionModel(
        **UNET | {"sample_size": 32}, **_IF_CROSS, in_channels=6, class_embed_type="timestep"
    )
    diffusers.IFPipeline(
        tokenizer=t5_tokenizer(folder / "first" / "tokenizer"),
        text_encoder=_t5(),
        unet=draw(first, 1),
        scheduler=diffusers.DDPMScheduler(**ddpm),
        requires_safety_checker=False,
        **nothing,
    ).save_pretrained(folder / "first")
    diffusers.IFSuperResolutionPipeline(
        tokenizer=None,
        text_encoder=None,
        unet=draw(second, 2),
        scheduler=diffusers.DDPMScheduler(**ddpm),
        image_noising_scheduler=diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        requires_safety_checker=False,
        **nothing,
    ).save_pretrained(folder / "second")
    return f"diffusers:{folder / 'first'}+{folder / 'second'}"


def cogvideox(folder: Path) -> str:
    """A tiny CogVideoX, 32×32 and 4n+1 frames."""
    diffusers = _diffusers()
    transformer = diffusers.CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=4,
        time_embed_dim=8,
        text_embed_dim=20,
        num_layers=2,
        sample_width=4,
        sample_height=4,
        sample_frames=5,
    )
    vae = diffusers.AutoencoderKLCogVideoX(
        block_out_channels=[8, 8, 8, 8],
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
    )
    diffusers.CogVideoXPipeline(
        tokenizer=t5_tokenizer(folder / "tokenizer"),
        text_encoder=_t5(),
        vae=draw(vae, 2),
        transformer=draw(transformer, 1),
        scheduler=diffusers.CogVideoXDDIMScheduler(),
    ).save_pretrained(folder)
    return f"diffusers:{folder}"


def ltx(folder: Path) -> str:
    """A tiny LTX: its pipeline takes sides that 32 divides."""
    diffusers = _diffusers()
    transformer = diffusers.LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=32,
        num_layers=1,
        caption_channels=20,
    )
    vae = diffusers.AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=[8, 8, 8, 8],
        decoder_block_out_channels=[8, 8, 8, 8],
        layers_per_block=[1, 1, 1, 1, 1],
        decoder_layers_per_block=[1, 1, 1, 1, 1],
        encoder_causal=True,
        decoder_causal=False,
    )
    diffusers.LTXPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=draw(vae, 2),
        text_encoder=_t5(),
        tokenizer=t5_tokenizer(folder / "tokenizer"),
        transformer=draw(transformer, 1),
    ).save_pretrained(folder)
    return f"diffusers:{folder}"


def hunyuan_video(folder: Path) -> str:
    """A tiny HunyuanVideo with its two text encoders; sides that 16 divides."""
    diffusers = _diffusers()
    transformers: Any = importlib.import_module("transformers")
    transformer = diffusers.HunyuanVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        patch_size=1,
        text_embed_dim=16,
        pooled_projection_dim=16,
        rope_axes_dim=(2, 4, 4),
    )
    vae = diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=4,
        block_out_channels=[8, 8, 8, 8],
        layers_per_block=1,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )
    llama = transformers.LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=512,
        pad_token_id=0,
    )
    diffusers.HunyuanVideoPipeline(
        text_encoder=draw(transformers.LlamaModel(llama)),
        tokenizer=_fine_tokenizer(folder / "tokenizer"),
        transformer=draw(transformer, 1),
        vae=draw(vae, 2),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder_2=_clip(),
        tokenizer_2=clip_tokenizer(folder / "tokenizer_2"),
    ).save_pretrained(folder)
    return f"diffusers:{folder}"


def _fine_tokenizer(folder: Path) -> Any:
    """A tokenizer of up to three letters: the pipeline drops the 95 tokens of its own template."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    transformers: Any = importlib.import_module("transformers")
    pieces = {word[i : i + 3] for word in WORDS for i in range(0, len(word), 3)}
    vocabulary = {piece: i for i, piece in enumerate(["<pad>", "<unk>", *sorted(pieces)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex("[A-Za-z]{1,3}|[^A-Za-z]+"), "isolated"),
        ]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)
    return fast


def wan(folder: Path) -> str:
    """A tiny Wan, 4n+1 frames; sides that 16 divides."""
    wan_pipeline(folder)
    return f"diffusers:{folder}"


KINDS: dict[str, Callable[[Path], str]] = {
    "Stable Diffusion": stable_diffusion,
    "Stable Diffusion 3": stable_diffusion_3,
    "DeepFloyd IF": deepfloyd_if,
    "CogVideoX": cogvideox,
    "LTX": ltx,
    "HunyuanVideo": hunyuan_video,
    "Wan": wan,
}
"""Writes a pipeline to a folder and returns what `--model` names it by."""
ROW: dict[str, dict[str, Any]] = {
    "Stable Diffusion": {},
    "Stable Diffusion 3": {},
    "DeepFloyd IF": {},
    "CogVideoX": {"num_frames": 5},
    "LTX": {"num_frames": 9, "height": 32, "width": 64},
    "HunyuanVideo": {"num_frames": 5, "height": 32, "width": 48},
    "Wan": {"num_frames": 5, "height": 32, "width": 48},
}
"""What a row asks each for, beside the prompt and few steps."""
