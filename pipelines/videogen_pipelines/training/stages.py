"""The stages of training as the program sees them: a configuration, its places, and a loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from videogen.registry import Registry
from videogen.training.config import DiTTrainConfig, FineTuneConfig, VAETrainConfig
from videogen.training.contrastive_config import ContrastiveTrainConfig
from videogen.training.distill_config import DistillConfig
from videogen.training.loop import Hooks

Place = Literal["shards", "folder", "model", "encoder"]


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        config: the dataclass of its configuration file; has a `schedule`.
        train: the loop: configuration, folder, hooks. Workers find each other in the default
            process group.
        places: fields of the configuration that name data or weights, and what lies there:
            shards, any folder, a model, or a text-video encoder. They may be addresses in an object
            store; models and encoders may be names.
        kept: patterns of files beside checkpoint and log that it goes on from.
    """

    config: type[Any]
    train: Callable[[Any, Path, Hooks], object]
    places: Mapping[str, Place] = field(default_factory=dict)
    kept: tuple[str, ...] = ()


def _train_vae(config: VAETrainConfig, folder: Path, hooks: Hooks) -> None:
    from videogen.training.vae_loop import train_vae
    from videogen_pipelines.training.packed_frames import PackedFrames

    source = PackedFrames(config) if config.data else None
    train_vae(config, folder, hooks=hooks, source=source)


def _train_dit(config: DiTTrainConfig, folder: Path, hooks: Hooks) -> None:
    from videogen.training.dit_loop import train_dit

    train_dit(config, folder, hooks=hooks)


def _distill(config: DistillConfig, folder: Path, hooks: Hooks) -> None:
    from videogen.training.distill import distill

    distill(config, folder, hooks=hooks)


def _finetune(config: FineTuneConfig, folder: Path, hooks: Hooks) -> None:
    from videogen.training.finetune import finetune

    finetune(config, folder, hooks=hooks)


def _train_contrastive(config: ContrastiveTrainConfig, folder: Path, hooks: Hooks) -> None:
    from videogen.training.contrastive_loop import train_contrastive
    from videogen_pipelines.training.packed_pairs import PackedPairs

    source = PackedPairs(config) if config.data else None
    train_contrastive(config, folder, hooks=hooks, source=source)


STAGES: Registry[Stage] = Registry(
    "stage",
    {
        "vae": Stage(VAETrainConfig, _train_vae, {"data": "shards", "start_from": "folder"}),
        "dit": Stage(
            DiTTrainConfig,
            _train_dit,
            {"vae_folder": "folder", "start_from": "model"},
            ("latents-*.safetensors",),
        ),
        "distill": Stage(
            DistillConfig, _distill, {"model": "model"}, ("trajectories-*.safetensors",)
        ),
        "contrastive": Stage(
            ContrastiveTrainConfig,
            _train_contrastive,
            {"data": "shards", "start_from": "encoder"},
        ),
        "finetune": Stage(FineTuneConfig, _finetune, {"data": "shards", "model": "model"}),
    },
)
