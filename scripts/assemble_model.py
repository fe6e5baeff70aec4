"""Put a DiT folder and a VAE folder together into a model folder that can ship.

    python scripts/assemble_model.py runs/dit/model runs/vae-decoder/model videogen/assets/default

The VAE may have another decoder than the DiT was trained with, never another encoder or other
latent statistics: the DiT's latents would mean something else.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from videogen.errors import WeightsError
from videogen.models.weights import load_model, load_vae, save_model


def assemble(
    dit_folder: Path, vae_folder: Path, out: Path, sampling: dict[str, Any], name: str | None
) -> None:
    """Write the model folder `out`; `sampling` replaces recommended sampling fields.

    Args:
        name: of the model; None keeps that of the DiT's folder.

    Raises:
        WeightsError: the VAE's encoder or latent statistics are not those of the DiT's folder.
    """
    model = load_model(dit_folder)
    vae, statistics = load_vae(vae_folder)
    own = model.vae.encoder.state_dict()
    same = all(torch.equal(own[k].half(), v.half()) for k, v in vae.encoder.state_dict().items())
    if not same or statistics != model.spec.latents:
        raise WeightsError(
            f"{vae_folder}: its encoder or latent statistics differ from those of {dit_folder}. "
            "Fix: train the decoder with freeze_encoder: true, starting from the DiT's VAE."
        )
    text = model.text
    assert isinstance(text, torch.nn.Module)
    spec = dataclasses.replace(
        model.spec, name=name or model.spec.name, sampling=model.spec.sampling | sampling
    )
    save_model(out, spec, model.dit, vae, text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dit", type=Path)
    parser.add_argument("vae", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sampling", type=json.loads, default={}, help="recommended, as JSON")
    parser.add_argument("--name", help="of the model")
    options = parser.parse_args()
    assemble(options.dit, options.vae, options.out, options.sampling, options.name)


if __name__ == "__main__":
    main()
