"""`VideoGenerator`: a prompt to latents, latents to frames, one clip at a time and exactly.

A clip's pixels depend on its request alone. Noise is keyed by (seed, latent frame); each clip is
denoised by itself, so what else runs, and in what order, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from videogen.clip import Clip
from videogen.defaults import sampling_defaults
from videogen.diffusion.guidance import Halves, one_by_one
from videogen.extension.chained import PICTURE
from videogen.extension.plan import plan_clip
from videogen.extension.sampler import LatentSampler, OnStep, Spread, in_turn
from videogen.extension.start import check_frames, check_no_start, usable_start
from videogen.extension.state import Chunk, StreamState
from videogen.extension.stream import rebuild_cache, stream_chunks
from videogen.models.accelerate import accelerate
from videogen.models.causal_conv import StreamCache
from videogen.models.compiling import compile_blocks
from videogen.models.protocol import StartsFromPicture, StreamingVAE, VideoModel
from videogen.models.published_spec import PublishedSpec
from videogen.models.text import WordEncoder
from videogen.models.vae import VideoVAE, to_bytes
from videogen.models.variant import AS_IT_IS, AT_HOME, Residence, Variant
from videogen.models.visits import Visitor
from videogen.models.wan.vae import WanVAE
from videogen.parallel.vae_tiles import tile_vae
from videogen.parallel.vae_wan_tiles import tile_wan_vae
from videogen.requests import ClipRequest, make_request
from videogen.seeds import request_id_from_content, seed_from_id


class VideoGenerator:
    """A loaded model that makes clips. Build it with `videogen.load`."""

    def __init__(
        self,
        model: VideoModel,
        device: torch.device,
        variant: Variant = AS_IT_IS,
        residence: Residence = AT_HOME,
    ) -> None:
        self.model = model
        self.variant, self.residence = variant, residence
        self._vae_visits: Callable[[], AbstractContextManager[None]] = nullcontext
        if "vae" in residence.offload:
            self._vae_visits = Visitor(model.vae, device).visit  # pyright: ignore[reportArgumentType]
        self._is_ready = False
        self.spec = model.spec
        self.device = device
        self.halves: Halves = one_by_one
        self.spread: Spread = in_turn
        self.defaults = sampling_defaults(model.spec.name, model.spec.sampling)

    @cached_property
    def digest(self) -> str:
        """sha256 of everything that decides what the model makes, its variant included."""
        return self.variant.digest(self.spec.digest)

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
        said = self.defaults.filled(fields)
        request = make_request({**said, "id": request_id, "seed": seed})
        plan_clip(self.spec, request)
        return request

    def generate(self, request: ClipRequest, on_step: OnStep | None = None) -> Clip:
        """A clip of a resolved request.

        A clip of one chunk is denoised here and now; a longer one while its frames are read, chunk
        by chunk, so that it is never held whole.
        """
        if plan_clip(self.spec, request).num_chunks() > 1:
            return Clip(request, lambda: self.stream(request, on_step=on_step), self.decode_chunk)
        chunks = list(self.stream(request, on_step=on_step))
        return Clip(request, lambda: iter(chunks), self.decode_chunk)

    def denoise(self, request: ClipRequest, on_step: OnStep | None = None) -> Tensor:
        """Normalised latents `c t h w`, float32, of a whole request, however long.

        Args:
            on_step: told (steps done, steps) after each denoising step.

        Raises:
            NonFiniteError: the result holds NaN or infinity.
        """
        latents = [chunk.latents for chunk in self.stream(request, on_step=on_step)]
        return torch.cat(latents, dim=1) if len(latents) > 1 else latents[0]

    def stream(
        self,
        request: ClipRequest,
        state: StreamState | None = None,
        on_step: OnStep | None = None,
        start: np.ndarray | None = None,
    ) -> Iterator[Chunk]:
        """Make a clip chunk by chunk; memory does not depend on its length.

        Each chunk carries the state that goes on after it: saved with `state.to_bytes()` and handed
        in here again, it gives the rest of the clip, exactly. Of several ranks, all walk the same
        chunks, and each has the whole latents and the whole state.

        Args:
            state: of the last chunk that is done; None starts at the beginning.
            on_step: told (steps done, steps) of the whole clip after each step.
            start: frames that the clip starts with, uint8 `t h w c` of the size of the clip, of a
                request with `image` or `video`; the last ones that the model can take in are used.
                Not needed with a state.

        Yields:
            Chunks whose latents, end to end, are those of `denoise`. A clip that fits the model's
            window is one chunk.

        Raises:
            InvalidRequestError: the state is that of another clip, or start does not fit.
            NonFiniteError: latents hold NaN or infinity.
        """
        self._get_ready()
        sampler = LatentSampler(
            self.model,
            request,
            self.device,
            self.halves,
            self.spread,
            step_cache=self.variant.cache,
            vae_visits=self._vae_visits,
            vae_dtype=self._vae_dtype,
        )
        known = None
        if isinstance(self.spec, PublishedSpec) and self.spec.takes_image:
            sampler = self._with_picture(sampler, request, state, start)
        elif state is None:
            known = self._encode_start(request, start)
        return stream_chunks(sampler, state, on_step, known)

    def _get_ready(self) -> None:
        """Have the transformer suit the machine, once all that alters its weights is done."""
        if self._is_ready:
            return
        self._is_ready = True
        if self.residence.compile is not None:
            compile_blocks(self.model.dit, self.residence.compile)
        else:
            accelerate(self.model.dit)

    def warm_up(self) -> None:
        """Have compiled blocks ready before the first clip; all ranks of a gang call it.

        Models that start from a picture, and those that are not compiled, need none or wait.
        """
        spec = self.spec
        needs_picture = isinstance(spec, PublishedSpec) and spec.takes_image
        if self.residence.compile is not None and not needs_picture:
            self.denoise(self.resolve(prompt="", seed=0, num_inference_steps=2))

    def decode_chunk(
        self, chunk: Chunk, cache: StreamCache, num_tiles: int = 1
    ) -> Iterator[np.ndarray]:
        """Stream the frames of a chunk; those beyond the clip's end are cut.

        Args:
            cache: carries the past from chunk to chunk; `{}` for a clip's first chunk,
                `decoder_cache(state)` after a state.
            num_tiles: see `decode`; the same for all chunks of a clip.

        Yields:
            uint8 `t h w c`, a few at a time; of several ranks, see `decode`.

        Raises:
            NonFiniteError: see `decode`.
        """
        latents, again = chunk.latents, 0
        if chunk.lead is not None:
            cache.clear()
            again = self.spec.vae.frames(chunk.lead.shape[1])
            latents = torch.cat([chunk.lead, latents], dim=1)
        left = chunk.num_frames
        for frames in self._decode(latents, cache, num_tiles):
            new = frames[again:][:left]
            again = max(0, again - len(frames))
            left -= len(new)
            if len(new) or not len(frames):
                yield new

    def decoder_cache(self, state: StreamState, num_tiles: int = 1) -> StreamCache:
        """The cache with which `decode_chunk` goes on after `state`; all ranks of a gang call it.

        It is made from the last latents, which are far smaller and the same on all ranks.
        """
        if PICTURE in state.tensors:
            return {}  # the next chunk is decoded by itself
        latents = self._restored(state.tail)
        with self._vae_visits():
            return rebuild_cache(self._vae(num_tiles), latents)

    def decode(self, latents: Tensor, num_tiles: int = 1) -> Iterator[np.ndarray]:
        """Stream frames of normalised latents `c t h w`.

        Args:
            num_tiles: bands of the picture that are decoded one after the other: the same frames,
                in less memory. Without effect on several ranks, which hold parts already.

        Yields:
            uint8 `t h w c`: one frame first, then four at a time; nothing else is kept. Of several
            ranks, all have to read to the end, and all but rank 0 get frames without any, t = 0.

        Raises:
            NonFiniteError: frames hold NaN or infinity; of several ranks, on those that made them.
        """
        yield from self._decode(latents, {}, num_tiles)

    def _decode(self, latents: Tensor, cache: StreamCache, num_tiles: int) -> Iterator[np.ndarray]:
        with self._vae_visits():
            frames = self._vae(num_tiles).decode_stream([self._restored(latents)], cache)
            while True:
                with torch.inference_mode():
                    chunk = next(frames, None)
                if chunk is None:
                    return
                yield to_uint8(chunk[0])

    def _vae(self, num_tiles: int) -> StreamingVAE:
        vae = self.model.vae
        if num_tiles > 1 and isinstance(vae, VideoVAE):
            return tile_vae(vae, num_tiles, finish=_bytes_on_cpu)
        if num_tiles > 1 and isinstance(vae, WanVAE):
            return tile_wan_vae(vae, num_tiles, finish=_bytes_on_cpu)
        return vae

    @torch.inference_mode()
    def _restored(self, latents: Tensor) -> Tensor:
        """Normalised latents `c t h w` as the VAE takes them, `b c t h w`."""
        return self._as_vae(self.model.denormalise(latents[None].to(self.device)))

    def _as_vae(self, x: Tensor) -> Tensor:
        return x.to(self._vae_dtype or x.dtype)

    @property
    def _vae_dtype(self) -> torch.dtype | None:
        """Precision of the VAE, where that was chosen."""
        chosen = self.variant.vae_dtype
        return None if chosen is None else getattr(torch, chosen)

    @torch.inference_mode()
    def _with_picture(
        self,
        sampler: LatentSampler,
        request: ClipRequest,
        state: StreamState | None,
        start: np.ndarray | None,
    ) -> LatentSampler:
        """A sampler that knows the picture its clip starts from; a state has the one to go on."""
        if state is not None:
            return sampler
        if start is None:
            check_no_start(request)
            return sampler
        check_frames(request, start)
        plan, model = plan_clip(self.spec, request), self.model
        if plan.method == "chained":
            return replace(sampler, picture=start[-1])
        assert isinstance(model, StartsFromPicture), "its description says so"
        with self._vae_visits():
            told = model.told_of(start[-1], self.spec.vae.frames(plan.num_latents))
        return replace(sampler, given=told)

    @torch.inference_mode()
    def _encode_start(self, request: ClipRequest, start: np.ndarray | None) -> Tensor | None:
        """Normalised latents `c t h w` of the last frames of `start` that fit into the context."""
        if start is None:
            check_no_start(request)
            return None
        frames = usable_start(plan_clip(self.spec, request), request, start, self.spec.vae)
        with self._vae_visits():
            latents = self.model.vae.encode(self._as_vae(frames[None].to(self.device)))
        return self.model.normalise(latents.float())[0]

    def warnings(self, request: ClipRequest) -> list[str]:
        """What a person should know about a request that is legal but may disappoint."""
        encoder = self.model.text
        notes = []
        if any(encoder.encode([request.prompt]).truncated):
            notes.append(f"prompt: cut at the text encoder's {encoder.max_tokens} tokens")
        if isinstance(encoder, WordEncoder) and (unknown := encoder.unknown_words(request.prompt)):
            notes.append(f"prompt: words this model does not know: {', '.join(unknown)}")
        if request.negative_prompt and not self._is_guided(request):
            notes.append("negative_prompt: has no effect at guidance_scale 1")
        return notes

    def _is_guided(self, request: ClipRequest) -> bool:
        """Whether any frame is also told what it is not to show."""
        scales = {request.guidance_scale}
        if plan_clip(self.spec, request).method not in ("none", "windows"):
            scales |= {request.context_guidance} - {None}
        return scales != {1}


def _bytes_on_cpu(tile: Tensor) -> Tensor:
    return to_bytes(tile).cpu()


def to_uint8(frames: Tensor) -> np.ndarray:
    """Frames `c t h w`, in [-1, 1] or bytes already, to uint8 `t h w c`."""
    pixels = frames if frames.dtype == torch.uint8 else to_bytes(frames)
    return rearrange(pixels, "c t h w -> t h w c").contiguous().cpu().numpy()
