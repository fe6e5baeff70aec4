"""Long clips of models that take a picture: chunk after chunk from the last frame before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import videogen
from tests.tiny_published import wan_pipeline
from videogen.errors import InvalidRequestError
from videogen.extension.plan import plan_clip
from videogen.extension.state import StreamState
from videogen.generator import VideoGenerator
from videogen.models.causal_conv import StreamCache
from videogen.models.variant import Residence, Variant
from videogen.models.visits import Visitor

pytest.importorskip("diffusers")

SIZE: dict[str, Any] = {"height": 32, "width": 48, "num_inference_steps": 2, "seed": 1}
FIELDS: dict[str, Any] = {**SIZE, "prompt": "a red circle", "image": "start.png", "chunk_frames": 9}
PICTURE = np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wan-i2v")
    wan_pipeline(folder, image=True)
    return folder


@pytest.fixture(scope="module")
def generator(folder: Path) -> VideoGenerator:
    return videogen.load(folder, device="cpu")


def frames_of(
    generator: VideoGenerator, chunks: list[Any], cache: StreamCache | None = None
) -> np.ndarray:
    cache = {} if cache is None else cache
    return np.concatenate([f for c in chunks for f in generator.decode_chunk(c, cache)])


def test_each_chunk_starts_from_the_last_frame_before_it(generator: VideoGenerator) -> None:
    request = generator.resolve(**FIELDS, num_frames=30)
    chunks = list(generator.stream(request, start=PICTURE))
    assert [chunk.latents.shape[1] for chunk in chunks] == [3, 2, 2, 2]
    frames = frames_of(generator, chunks)
    assert frames.shape == (30, 32, 48, 3)
    assert np.array_equal(chunks[0].state.tensors["picture"].numpy(), frames[8])
    # A clip that starts from that frame is what follows, but for its noise.
    alone = generator.resolve(**FIELDS, num_frames=9)
    follows = frames_of(generator, list(generator.stream(alone, start=frames[8:9])))[1:]
    begins = frames_of(generator, list(generator.stream(alone, start=PICTURE)))
    assert np.array_equal(begins, frames[:9])
    assert follows.shape == frames[9:17].shape and not np.array_equal(follows, frames[9:17])


def test_a_chain_goes_on_from_a_saved_state(generator: VideoGenerator) -> None:
    request = generator.resolve(**FIELDS, num_frames=30)
    chunks = list(generator.stream(request, start=PICTURE))
    whole = frames_of(generator, chunks)
    state = StreamState.from_bytes(chunks[1].state.to_bytes())
    rest = list(generator.stream(request, state))
    assert np.array_equal(frames_of(generator, rest, generator.decoder_cache(state)), whole[17:])


def test_a_chain_decodes_in_the_precision_of_the_vae(folder: Path) -> None:
    generator = videogen.load(folder, device="cpu", variant=Variant(vae_dtype="bfloat16"))
    chunks = list(generator.stream(generator.resolve(**FIELDS, num_frames=13), start=PICTURE))
    frames = frames_of(generator, chunks)
    assert len(frames) == 13
    assert np.array_equal(chunks[0].state.tensors["picture"].numpy(), frames[8])


class KnownVisitor(Visitor):
    """Says whether it visits, also where the device is the CPU."""

    is_there = False

    @contextmanager
    def visit(self) -> Iterator[None]:
        KnownVisitor.is_there = True
        with super().visit():
            yield
        KnownVisitor.is_there = False


def test_a_vae_that_lives_elsewhere_visits_for_every_chunk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videogen.generator.Visitor", KnownVisitor)
    generator = videogen.load(folder, device="cpu", residence=Residence(("vae",)))
    vae, worked = generator.model.vae, []
    for part in (vae.encoder, vae.decoder):  # pyright: ignore[reportAttributeAccessIssue]
        part.register_forward_pre_hook(lambda *_: worked.append(KnownVisitor.is_there))
    list(generator.stream(generator.resolve(**FIELDS, num_frames=13), start=PICTURE))
    assert len(worked) > 2 and all(worked)
    assert not KnownVisitor.is_there


def test_chunks_are_as_even_as_they_go(generator: VideoGenerator) -> None:
    request = generator.resolve(**{**FIELDS, "chunk_frames": 21}, num_frames=29)
    plan = plan_clip(generator.spec, request)
    assert plan.method == "chained"
    assert (plan.size(0), plan.size(5), plan.num_chunks()) == (5, 3, 2)


@pytest.mark.parametrize(
    "field",
    [{"loop": True}, {"anchor": 0.5}, {"async_steps": 1}, {"extension": "windows"}],
)
def test_what_a_chain_cannot_do_is_refused(
    generator: VideoGenerator, field: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequestError, match=rf"{next(iter(field))}: got .* leave it out"):
        generator.resolve(**FIELDS, num_frames=30, **field)


def test_all_at_once_has_a_limit(generator: VideoGenerator) -> None:
    with pytest.raises(InvalidRequestError, match=r"num_frames: got 10 .* at most 9"):
        generator.resolve(**FIELDS, num_frames=10, extension="none")
