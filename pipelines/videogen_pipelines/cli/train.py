"""`videogen train`: the VAE and the DiT, on rendered clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Train a model from rendered, captioned clips.", no_args_is_help=True)

Config = Annotated[Path, typer.Argument(help="A training configuration (configs/train/*.yaml).")]
Out = Annotated[Path, typer.Option(help="Folder of checkpoints, log and model.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a field: schedule.num_steps=100.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command()
def vae(config: Config, out: Out, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Train the video VAE; run again to go on from the last checkpoint.

    Example: videogen train vae configs/train/vae.yaml --out runs/vae
    """
    from videogen.config import load_dataclass, load_yaml
    from videogen.training.config import VAETrainConfig
    from videogen.training.vae_loop import train_vae

    settings = load_dataclass(VAETrainConfig, load_yaml(config), str(config), overrides or [])
    train_vae(settings, out)
    _report(out, as_json)


@app.command()
def dit(config: Config, out: Out, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Train the DiT and its text encoder; run again to go on from the last checkpoint.

    Example: videogen train dit configs/train/dit.yaml --out runs/dit
    """
    from videogen.config import load_dataclass, load_yaml
    from videogen.training.config import DiTTrainConfig
    from videogen.training.dit_loop import train_dit

    settings = load_dataclass(DiTTrainConfig, load_yaml(config), str(config), overrides or [])
    train_dit(settings, out)
    _report(out, as_json)


def _report(out: Path, as_json: bool) -> None:
    last = json.loads((out / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    if as_json:
        typer.echo(json.dumps({"model": str(out / "model"), **last}))
    else:
        typer.echo(f"Trained to step {last['step']}. The model is {out / 'model'}.")
