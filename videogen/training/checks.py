"""What training configurations are checked for, before anything is read or rendered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from videogen.errors import ConfigError
from videogen.models.config import VAEConfig
from videogen.registry import did_you_mean
from videogen.shapes.vocabulary import MOTIONS, WORLDS


class Pool(Protocol):
    """What pools of clips have in common."""

    @property
    def share(self) -> float: ...


def check_source(data: str, source: object, what: str, stage: str) -> None:
    """Raise `ConfigError` where a stage is to learn from data and was given nothing that reads it.

    Args:
        what: the source is of.
    """
    if data and source is None:
        raise ConfigError(
            f"data: got '{data}' and nothing that reads it, expected a source of {what}. "
            f"Fix: train with 'videogen train {stage}', or give a source."
        )


def check_counts(section: Any, *names: str) -> None:
    """Raise `ConfigError` where one of these fields is below 1."""
    for name in names:
        if (value := getattr(section, name)) < 1:
            raise ConfigError(f"{name}: got {value}, expected 1 or more.")


def check_clips(vae: VAEConfig, num_frames: int, size: int = 0, field: str = "num_frames") -> None:
    """Raise `ConfigError` where clips do not fill whole latents."""
    if num_frames < 1 or (num_frames - 1) % vae.time_factor:
        raise ConfigError(
            f"{field}: got {num_frames}, expected {vae.time_factor}n+1 (5, 9, 13, …), because "
            f"the VAE compresses time by {vae.time_factor}."
        )
    if size % vae.space_factor:
        raise ConfigError(
            f"size: got {size}, expected a multiple of {vae.space_factor} px, because the VAE "
            f"compresses space by {vae.space_factor}."
        )


def check_worlds(worlds: Sequence[str]) -> None:
    """Raise `ConfigError` where there is no world, or none of such a name."""
    if not worlds:
        raise ConfigError(f"worlds: got none, expected some of {', '.join(WORLDS)}.")
    for name in worlds:
        if name not in WORLDS:
            raise ConfigError(f"worlds: got '{name}', {did_you_mean(name, list(WORLDS))}")


def check_emphasis(emphasis: Mapping[str, float]) -> None:
    """Raise `ConfigError` where a motion is unknown, or would never be drawn."""
    for name, weight in emphasis.items():
        if name not in MOTIONS:
            raise ConfigError(f"emphasis: got '{name}', {did_you_mean(name, list(MOTIONS))}")
        if not 0 < weight < math.inf:
            raise ConfigError(f"emphasis.{name}: got {weight}, expected a number above 0.")


def check_pools(pools: Sequence[Pool]) -> None:
    """Raise `ConfigError` where there is no pool, or none that anything is drawn from."""
    if not pools:
        raise ConfigError("pools: got none, expected one or more. Fix: copy the shipped ones.")
    shares = [pool.share for pool in pools]
    if not all(0 <= share < math.inf for share in shares) or not sum(shares):
        raise ConfigError(
            f"pools: got the shares {shares}, expected 0 or more each, and one that is above 0."
        )


def check_window(kind: str, latent_frames: int, shortest: int) -> None:
    """Raise `ConfigError` where the windows of a pool are too short for what they are to hold."""
    if latent_frames < shortest:
        raise ConfigError(
            f"pools: got windows of {latent_frames} latent frames in a pool that is {kind}, "
            f"expected {shortest} or more. Fix: use longer windows."
        )
