"""`VideoGenerator`: a prompt to latents, latents to frames, one clip at a time and exactly.

A clip's pixels depend on its request alone. Noise is keyed by (seed, latent frame); each clip is
denoised by itself, so what else runs, and in what order, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from videogen.clip import Clip
from videogen.defaults import sampling_defaults
from videogen.diffusion.denoiser import Denoiser, as_denoiser
from videogen.diffusion.guidance import Halves, interval_sigmas, one_by_one, with_guidance
from videogen.diffusion.process import NoisePath, RectifiedFlow, VariancePreserving
from videogen.diffusion.schedules import flow_sigmas, linear_betas, vp_sigmas
from videogen.diffusion.solvers import SOLVERS
from videogen.errors import NonFiniteError
from videogen.models.spec import ModelSpec
from videogen.models.text import WordEncoder
from videogen.models.vae import to_bytes
from videogen.models.weights import Model
from videogen.parallel.vae_tiles import tile_vae
from videogen.requests import ClipRequest, make_request
from videogen.seeds import frame_noise, request_id_from_content, seed_from_id

OnStep = Callable[[int, int], None]


class VideoGenerator:
    """A loaded model that makes clips. Build it with `videogen.load`."""

    def __init__(self, model: Model, device: torch.device) -> None:
        self.model = model
        self.spec = model.spec
        self.device = device
        self.halves: Halves = one_by_one
        self.defaults = sampling_defaults(model.spec.name, model.spec.sampling)

    def __call__(self, prompt: str, **fields: Any) -> Clip:
        """Make one clip.

        Args:
            prompt: what it shows.
            fields: any field of `ClipRequest`; the model's defaults fill in the rest.

        Raises:
            InvalidRequestError: a field is wrong, or the model cannot make that size.
        """
        return self.generate(self.resolve(prompt=prompt, **fields))

    def resolve(self, **fields: Any) -> ClipRequest:
        """Fill in defaults, id and seed, and check the request against the model.

        Raises:
            InvalidRequestError: names the field, the value and what was expected.
        """
        request_id = fields.get("id") or request_id_from_content(fields)
        seed = fields.get("seed")
        seed = seed_from_id(request_id) if seed is None else seed
        said = self.defaults.model_dump(exclude_none=True) | fields
        request = make_request({**said, "id": request_id, "seed": seed})
        self.spec.check_size(request.num_frames, request.height, request.width)
        return request

    def generate(self, request: ClipRequest, on_step: OnStep | None = None) -> Clip:
        """Denoise a resolved request; frames are decoded when they are asked for."""
        return Clip(request=request, latents=self.denoise(request, on_step), decode=self.decode)

    @torch.inference_mode()
    def denoise(self, request: ClipRequest, on_step: OnStep | None = None) -> Tensor:
        """Normalised latents `c t h w`, float32, of a request.

        Args:
            on_step: told (steps done, steps) after each denoising step.

        Raises:
            NonFiniteError: the result holds NaN or infinity.
        """
        path = noise_path(self.spec)
        sigmas = schedule(request, path)
        latents = SOLVERS[request.sampler](
            self._denoiser(request, path, sigmas),
            self._noise(request, "initial"),
            sigmas,
            path=path,
            eta=request.eta,
            noise=lambda step: self._noise(request, f"step-{step}"),
            callback=on_step,
        )
        if not torch.isfinite(latents).all():
            raise NonFiniteError(
                f"{request.id}: got NaN or infinity in the latents, expected finite numbers. "
                "Fix: lower guidance_scale, use more steps, or dtype float32."
            )
        return latents[0].float()

    def decode(self, latents: Tensor, num_tiles: int = 1) -> Iterator[np.ndarray]:
        """Stream frames of normalised latents `c t h w`.

        Args:
            num_tiles: bands of the picture that are decoded one after the other: the same frames,
                in less memory. Without effect on several ranks, which hold parts already.

        Yields:
            uint8 `t h w c`: one frame first, then four at a time; nothing else is kept. Of several
            ranks, all have to read to the end, and all but rank 0 get frames without any, t = 0.
        """
        with torch.inference_mode():
            restored = self.model.denormalise(latents[None].to(self.device))
        vae = self.model.vae
        if num_tiles > 1:
            vae = tile_vae(vae, num_tiles, finish=lambda tile: to_bytes(tile).cpu())
        frames = vae.decode_stream([restored])
        while True:
            with torch.inference_mode():
                chunk = next(frames, None)
            if chunk is None:
                return
            yield to_uint8(chunk[0])

    def warnings(self, request: ClipRequest) -> list[str]:
        """What a person should know about a request that is legal but may disappoint."""
        encoder = self.model.text
        notes = []
        if any(encoder.encode([request.prompt]).truncated):
            notes.append(f"prompt: cut at the text encoder's {encoder.max_tokens} tokens")
        if isinstance(encoder, WordEncoder) and (unknown := encoder.unknown_words(request.prompt)):
            notes.append(f"prompt: words this model does not know: {', '.join(unknown)}")
        return notes

    def _denoiser(self, request: ClipRequest, path: NoisePath, sigmas: Tensor) -> Denoiser:
        def conditioned_on(prompt: str) -> Denoiser:
            return as_denoiser(
                self.model.dit, path, self.spec.prediction, text=self.model.text.encode([prompt])
            )

        return with_guidance(
            conditioned_on(request.prompt),
            conditioned_on(request.negative_prompt),
            request.guidance_scale,
            rescale=request.guidance_rescale,
            sigma_range=interval_sigmas(sigmas, request.guidance_interval),
            halves=self.halves,
        )

    def _noise(self, request: ClipRequest, purpose: str) -> Tensor:
        c, t, h, w = self.spec.latent_shape(request.num_frames, request.height, request.width)
        noise = frame_noise(request.seed, c, h, w, 0, t, purpose)
        return noise[None].to(self.device, next(self.model.dit.parameters()).dtype)


def noise_path(spec: ModelSpec) -> NoisePath:
    """The forward process a model was trained with."""
    if spec.prediction == "flow":
        return RectifiedFlow()
    return VariancePreserving.from_betas(linear_betas())


def schedule(request: ClipRequest, path: NoisePath) -> Tensor:
    """Sigmas of a request, n + 1 falling values ending in 0; `flow_shift` shifts flow models."""
    if isinstance(path, VariancePreserving):
        return vp_sigmas(path, request.num_inference_steps)
    return flow_sigmas(request.num_inference_steps, request.flow_shift)


def to_uint8(frames: Tensor) -> np.ndarray:
    """Frames `c t h w`, in [-1, 1] or bytes already, to uint8 `t h w c`."""
    pixels = frames if frames.dtype == torch.uint8 else to_bytes(frames)
    return rearrange(pixels, "c t h w -> t h w c").contiguous().cpu().numpy()
