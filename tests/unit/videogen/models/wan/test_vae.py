from __future__ import annotations

import pytest
import torch

from tests.tiny_published import draw
from videogen.errors import InvalidRequestError
from videogen.models.wan.vae import WanVAE
from videogen.models.wan.vae_config import WanVAEConfig


def small(**fields: object) -> WanVAE:
    config = WanVAEConfig(
        **{"base_dim": 2, "num_res_blocks": 1, **fields}  # pyright: ignore[reportArgumentType]
    )
    return draw(WanVAE(config))


@pytest.mark.parametrize("faster", [(False, True, True), (True, True, False)])
def test_frames_depend_on_no_more_than_the_decoders_past(faster):
    vae = small(temperal_downsample=faster)
    past = vae.config.decoder_past
    latents = torch.randn(1, 16, past + 3, 1, 1, generator=torch.Generator().manual_seed(0))
    parts = list(vae.decode_stream([latents]))
    cache = {}
    for _ in vae.decode_stream([latents[:, :, 2 : past + 2]], cache):
        pass
    (rebuilt,) = vae.decode_stream([latents[:, :, past + 2 :]], cache)
    assert torch.equal(rebuilt, parts[-1])
    changed = latents.clone()
    changed[:, :, 3] += 1
    assert not torch.equal(list(vae.decode_stream([changed]))[4], parts[4])


def test_published_sizes():
    config = WanVAEConfig()
    assert (config.time_factor, config.space_factor, config.latent_channels) == (4, 8, 16)
    assert [config.latent_frames(n) for n in (1, 2, 5, 6, 81)] == [1, 2, 2, 3, 21]
    assert [config.frames(n) for n in (0, 1, 2, 21)] == [0, 1, 5, 81]
    assert config.decoder_past == 2 + 8 + 14 + 7 + 3 + 3 + 1


def test_only_whole_latent_frames_are_encoded():
    with pytest.raises(InvalidRequestError, match="frames: got 4, expected 4n"):
        small().encode(torch.zeros(1, 3, 4, 8, 8))
