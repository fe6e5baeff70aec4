"""The parts of a published model: whether their folders hold what they must, and their sizes.

Everything is read from configurations and headers, so it takes seconds whatever the size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from torch import nn

from videogen.errors import ConfigError
from videogen.models.descriptions import read_json
from videogen.models.encoder_shapes import Shapes, clip_vision_shapes, t5_shapes
from videogen.models.folders import check_weights, refuse_misfits, shapes_of, weight_files
from videogen.models.image_transformers import VISION, read_preparation
from videogen.models.image_vae.vae import ImageVAE, current_name
from videogen.models.latte.spec import LatteSpec
from videogen.models.latte.transformer import LatteTransformer
from videogen.models.meta import on_meta
from videogen.models.presets import ParameterCounts, count_parameters
from videogen.models.published import AnySpec
from videogen.models.published_spec import PublishedSpec
from videogen.models.spec import ModelSpec
from videogen.models.text_folders import (
    FAMILIES,
    Family,
    check_config,
    check_safetensors,
    check_tokenizer_files,
    find_folders,
)
from videogen.models.wan.folder import UNUSED_KEYS
from videogen.models.wan.spec import WanSpec
from videogen.models.wan.transformer import WanTransformer
from videogen.models.wan.vae import WanVAE

SHARED_EMBEDDING = "encoder.embed_tokens.weight"
"""Another name of T5's `shared.weight`; a file may hold either or both."""


@dataclass(frozen=True)
class Part:
    """A folder of weights and the module that they fill, on the meta device."""

    folder: Path
    module: nn.Module
    ignored: tuple[str, ...] = ()
    rename: Callable[[str], str] = str


def parts_of(spec: PublishedSpec) -> Iterator[Part]:
    """Transformers, then the VAE."""
    root = spec.folder
    if isinstance(spec, WanSpec):
        with on_meta():
            yield Part(root / "transformer", WanTransformer(spec.dit), UNUSED_KEYS)
        if spec.low_noise_dit is not None:
            with on_meta():
                low = WanTransformer(spec.low_noise_dit)
            yield Part(root / "transformer_2", low, UNUSED_KEYS)
        with on_meta():
            yield Part(root / "vae", WanVAE(spec.vae))
    elif isinstance(spec, LatteSpec):
        with on_meta():
            dit, vae = LatteTransformer(spec.dit), ImageVAE(spec.vae, spec.vae.across_frames)
        yield Part(root / "transformer", dit)
        yield Part(root / spec.vae_folder, vae, rename=current_name)


def check_published(spec: PublishedSpec) -> None:
    """Raise unless a folder holds all weights of its model, and nothing else in their files.

    Raises:
        WeightsError: a file is missing, truncated or a pickle, or keys or shapes do not fit.
        ConfigError: the parts are not those of one model.
    """
    for part in parts_of(spec):
        files = weight_files(part.folder)
        check_weights(part.module, part.folder, files, part.ignored, part.rename)
    encoder, tokenizer = find_folders(spec.folder)
    family = FAMILIES[spec.text.kind]
    _check_encoder(encoder, spec.text.kind, family, text_shapes)
    check_tokenizer_files(tokenizer, family)
    width = read_json(encoder / "config.json").get(family.width_field)
    if width != spec.text.width:
        raise ConfigError(
            f"{encoder}: {family.width_field}: got {width}, expected {spec.text.width}, the width "
            "of text in transformer/config.json. Fix: use the parts of one model."
        )
    image_encoder = _image_encoder(spec)
    if image_encoder is not None:
        _check_encoder(image_encoder, "image encoder", VISION, image_shapes)
        read_preparation(spec.folder / "image_processor" / "preprocessor_config.json")


def _check_encoder(
    folder: Path, kind: str, family: Family, expected: Callable[[Path], Shapes]
) -> None:
    check_config(folder, kind, family)
    check_safetensors(folder)
    found = shapes_of(weight_files(folder, "model"))
    plain = {key.removeprefix("vision_model."): shape for key, shape in found.items()}
    if SHARED_EMBEDDING in plain:
        embedding = plain.pop(SHARED_EMBEDDING)
        plain.setdefault("shared.weight", embedding)
    refuse_misfits(folder, expected(folder), _of_encoder(plain, family))


def _of_encoder(found: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """Without the other halves of whole checkpoints and the counters of positions."""
    others = (*family.other_halves, "embeddings.position_ids")
    return {key: shape for key, shape in found.items() if not key.startswith(others)}


def text_shapes(folder: Path) -> Shapes:
    """Names and shapes of the weights of a T5 or UMT5 encoder."""
    path = folder / "config.json"
    return t5_shapes(read_json(path), path)


def image_shapes(folder: Path) -> Shapes:
    """Names and shapes of the weights of a CLIP image encoder."""
    path = folder / "config.json"
    said = read_json(path)
    return clip_vision_shapes(said.get("vision_config") or said, path)


def count_published(spec: PublishedSpec) -> ParameterCounts:
    """Count the parameters of a published model from its configurations.

    Raises:
        WeightsError: a configuration is missing.
    """
    modules = {part.folder.name: _count(part.module) for part in parts_of(spec)}
    dit = sum(count for name, count in modules.items() if name.startswith("transformer"))
    image_encoder = _image_encoder(spec)
    return ParameterCounts(
        dit=dit,
        vae=sum(modules.values()) - dit,
        text=_total(text_shapes(find_folders(spec.folder)[0])),
        image=0 if image_encoder is None else _total(image_shapes(image_encoder)),
    )


def count_model(spec: AnySpec) -> ParameterCounts:
    """Count the parameters of a model of whichever kind."""
    return count_parameters(spec) if isinstance(spec, ModelSpec) else count_published(spec)


def _image_encoder(spec: PublishedSpec) -> Path | None:
    attends = isinstance(spec, WanSpec) and spec.dit.image_dim is not None
    return spec.folder / "image_encoder" if attends else None


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _total(shapes: Shapes) -> int:
    return sum(map(prod, shapes.values()))
