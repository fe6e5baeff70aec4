"""`parallelize(model, mesh)`: sharding applied from outside; no model file mentions a rank."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from videogen.errors import ConfigError
from videogen.models.image_vae.vae import ImageVAE
from videogen.models.layout import TokenAttention, TokenModel
from videogen.models.protocol import StreamingVAE
from videogen.models.vae import VideoVAE, to_bytes
from videogen.models.wan.vae import WanVAE
from videogen.parallel.halves import OverlappedHalves, SplitHalves
from videogen.parallel.layout import ShardedLayout
from videogen.parallel.mesh import Mesh
from videogen.parallel.spread import SpreadTasks
from videogen.parallel.switch import install_switch
from videogen.parallel.ulysses import SequenceAttention
from videogen.parallel.vae import parallelize_vae
from videogen.parallel.vae_pictures import SpreadPictures
from videogen.parallel.vae_wan import share_wan_vae

if TYPE_CHECKING:
    from videogen.generator import VideoGenerator

Weights = Literal["whole", "sharded", "offloaded"]
Shares = Literal["tokens", "windows"]
AnyModel = TypeVar("AnyModel", bound=TokenModel)


def parallelize(model: AnyModel, mesh: Mesh, ulysses_degree: int | None = None) -> AnyModel:
    """Have the ranks of the axis `seq` share the tokens of every forward of `model`.

    All ranks then call it together, with the same arguments, and all get the whole result, which
    is that of one rank.

    Args:
        model: altered in place; the same weights on every rank.
        ulysses_degree: for joint and windowed attention, ranks that trade heads for tokens; rings
            connect the groups. None is as many as there are heads for.

    Raises:
        ConfigError: `model` is sharded already, or `ulysses_degree` is not legal.
    """
    if isinstance(model.layout, ShardedLayout):
        raise ConfigError(
            "parallelize: got a model that is sharded already, expected a whole one. "
            "Fix: load the model again."
        )
    if mesh.seq.size == 1:
        return model
    layout = ShardedLayout(mesh.seq)
    for module in model.modules():
        if isinstance(module, TokenAttention):
            _shard_attention(module, layout, mesh, ulysses_degree)
    model.layout = layout
    return model


def parallelize_generator(
    generator: VideoGenerator,
    mesh: Mesh,
    ulysses_degree: int | None = None,
    overlap: bool | None = None,
    weights: Weights = "whole",
    shares: Shares = "tokens",
) -> VideoGenerator:
    """Have the ranks of a mesh make clips together.

    All ranks then call `denoise` with the same requests in the same order. Noise depends on seed
    and frame alone, so all ranks draw the same, and all get the latents that one rank would. So
    they do with `decode`, all reading to its end; frames come out on the first rank alone.

    Args:
        generator: altered in place; the same model on every rank.
        ulysses_degree: see `parallelize`.
        overlap: where the halves of guidance are not on ranks of their own, compute one while the
            tokens of the other travel, at twice the memory of activations. None does so on GPUs.
        weights: of the DiT: "whole" on every rank, "sharded" among the ranks, or "offloaded", which
            keeps the shares in the memory of the CPU; see `shard_weights`.
        shares: what the ranks of `seq` share: the "tokens" of every forward, or the "windows" of
            long clips of extension "windows", each of which one rank then denoises whole. Clips
            without windows are then made by all ranks alike, and none is faster.

    Raises:
        ConfigError: see `parallelize`, or overlap was asked for together with sharded weights.
    """
    device = generator.device.type
    overlaps = device == "cuda" and weights == "whole" if overlap is None else overlap
    _check_overlap(overlaps, weights)
    _check_step_cache(generator, weights)
    if shares == "windows":
        generator.spread = SpreadTasks(mesh.seq)
    else:
        parallelize(generator.model.dit, mesh, ulysses_degree)
    if weights != "whole":
        from videogen.parallel.weights import shard_weights  # FSDP takes seconds to import

        shard_weights(generator.model.dit, mesh, device=device, offload=weights == "offloaded")
    if mesh.cfg.size > 1:
        generator.halves = SplitHalves(mesh.cfg, remembers=generator.variant.cache is not None)
    elif mesh.seq.size > 1 and overlaps and shares == "tokens":
        generator.halves = OverlappedHalves(mesh)
    if mesh.gang.size > 1:
        model: Any = generator.model
        generator.model = replace(model, vae=_shared_vae(generator, mesh))
    return generator


def _shared_vae(generator: VideoGenerator, mesh: Mesh) -> StreamingVAE:
    vae = generator.model.vae
    if isinstance(vae, VideoVAE):
        return parallelize_vae(vae, mesh.gang, finish=to_bytes)
    if isinstance(vae, WanVAE):
        return share_wan_vae(vae, mesh.gang, finish=to_bytes)
    assert isinstance(vae, ImageVAE), "there are three kinds"
    return SpreadPictures(vae, mesh.gang)


def ulysses_degree_for(num_heads: int, seq_degree: int) -> int:
    """The largest divisor of `seq_degree` that leaves every rank a head."""
    return max(d for d in range(1, seq_degree + 1) if seq_degree % d == 0 and d <= num_heads)


def _check_step_cache(generator: VideoGenerator, weights: Weights) -> None:
    if weights != "whole" and generator.variant.cache is not None:
        raise ConfigError(
            f"model.cache: got {generator.variant.cache.kind} with {weights} weights, expected "
            "whole ones, because halves of guidance that leave out other blocks would wait for "
            "each other's weights. Fix: leave model.cache out, or keep weights whole."
        )


def _check_overlap(overlaps: bool, weights: Weights) -> None:
    if overlaps and weights != "whole":
        raise ConfigError(
            f"overlap: got True with {weights} weights, expected whole ones, because the halves "
            "would drop weights that the other still uses. Fix: turn overlap off."
        )


def _shard_attention(
    module: TokenAttention, layout: ShardedLayout, mesh: Mesh, ulysses_degree: int | None
) -> None:
    if module.axis != "spacetime":
        install_switch(module, layout)
        return
    degree = ulysses_degree or ulysses_degree_for(module.num_heads, mesh.seq.size)
    if degree > module.num_heads:
        raise ConfigError(
            f"ulysses_degree: got {degree}, expected at most {module.num_heads}, the heads of the "
            f"model. Fix: use {ulysses_degree_for(module.num_heads, mesh.seq.size)}."
        )
    module.attend = SequenceAttention(layout, *mesh.subdivide_seq(degree))
