"""`videogen train`: models on rendered clips, and any model on clips of one's own."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Train a model, or fine-tune one on clips of your own.", no_args_is_help=True
)

Config = Annotated[Path, typer.Argument(help="A training configuration (configs/train/*.yaml).")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a field: schedule.num_steps=100.")
]
Output = Annotated[
    str, typer.Option("--out", help="Where checkpoints, log and model go: a folder or s3://.")
]
Workers = Annotated[
    str | None,
    typer.Option(help="Workers of Ray Train, 4 or 2:8 (fewest:most); without it this process."),
]
Address = Annotated[str | None, typer.Option(help="A Ray cluster to train on.")]
MaxFailures = Annotated[
    int, typer.Option(min=0, help="Losses of workers after which training gives up.")
]
Prompts = Annotated[
    list[str] | None, typer.Option(help="Make a clip of it at every checkpoint; repeatable.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command()
def vae(
    config: Config,
    out: Output,
    data: Annotated[
        str | None, typer.Option(help="Shards of 'videogen data pack'; without it rendered clips.")
    ] = None,
    workers: Workers = None,
    address: Address = None,
    max_failures: MaxFailures = 8,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Train the video VAE; run again to go on from the last checkpoint.

    Example: videogen train vae configs/train/vae.yaml --out runs/vae
    """
    engine = _Engine(workers, address, max_failures, as_json)
    _run("vae", config, out, [*(overrides or []), *_data(data)], engine)


@app.command()
def dit(
    config: Config,
    out: Output,
    workers: Workers = None,
    address: Address = None,
    max_failures: MaxFailures = 8,
    validation_prompt: Prompts = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Train the DiT and its text encoder on rendered clips; run again to go on.

    Example: videogen train dit configs/train/dit.yaml --out runs/dit --workers 4
    """
    engine = _Engine(workers, address, max_failures, as_json)
    _run("dit", config, out, overrides or [], engine, validation_prompt or [])


@app.command()
def distill(
    config: Config,
    out: Output,
    workers: Workers = None,
    address: Address = None,
    max_failures: MaxFailures = 8,
    validation_prompt: Prompts = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Make a model that needs few steps and no guidance; run again to go on.

    Example: videogen train distill configs/train/distill.yaml --out runs/fast
    """
    engine = _Engine(workers, address, max_failures, as_json)
    _run("distill", config, out, overrides or [], engine, validation_prompt or [])


@app.command()
def contrastive(
    config: Config,
    out: Output,
    data: Annotated[
        str | None, typer.Option(help="Shards of 'videogen data pack'; without it rendered clips.")
    ] = None,
    workers: Workers = None,
    address: Address = None,
    max_failures: MaxFailures = 8,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Train a text-video encoder, as text.similarity uses one; run again to go on.

    Example: videogen train contrastive configs/train/contrastive.yaml --out runs/text-video
    """
    engine = _Engine(workers, address, max_failures, as_json)
    _run("contrastive", config, out, [*(overrides or []), *_data(data)], engine)


@app.command()
def finetune(
    config: Config,
    out: Output,
    data: Annotated[
        str | None,
        typer.Option(help="Shards of 'videogen data encode'; without it those of the config."),
    ] = None,
    workers: Workers = None,
    address: Address = None,
    max_failures: MaxFailures = 8,
    validation_prompt: Prompts = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a model on encoded clips; run again to go on from the last checkpoint.

    Example: videogen train finetune configs/train/finetune.yaml --data encoded --out runs/mine
    """
    engine = _Engine(workers, address, max_failures, as_json)
    said = [*(overrides or []), *_data(data)]
    _run("finetune", config, out, said, engine, validation_prompt or [])


@app.command()
def new(
    config: Annotated[Path, typer.Argument(help="A model's sizes (configs/model/*.yaml).")],
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
    vae: Annotated[
        str, typer.Option(help="Whose VAE: default, a model, or what 'train vae' wrote.")
    ] = "default",
    text_encoder: Annotated[
        str, typer.Option(help="Folder of the pretrained text encoder, for sizes with one.")
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of the random weights.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make a model of random weights, for 'data encode' and 'train finetune' on your own clips.

    Example: videogen train new configs/model/default.yaml --vae runs/vae/model --out runs/new
    """
    from videogen.models.presets import load_preset
    from videogen.training.new_model import new_model

    spec = new_model(load_preset(config), vae, out, text_encoder, seed)
    if as_json:
        typer.echo(json.dumps({"model": str(out), "name": spec.name}))
    else:
        typer.echo(f"{spec.name}, not trained yet: {out}")


@dataclass(frozen=True)
class _Engine:
    """Where a stage runs, and how it says so."""

    workers: str | None
    address: str | None
    max_failures: int
    as_json: bool


def _run(
    stage: str,
    config: Path,
    out: str,
    overrides: list[str],
    engine: _Engine,
    prompts: list[str] | None = None,
) -> None:
    """Run a stage of `videogen_pipelines.training.stages` to its end, and say how it ended."""
    from videogen.config import load_dataclass, load_yaml
    from videogen_pipelines.training.job import TrainingJob, last_report, run_here, run_on_ray
    from videogen_pipelines.training.places import absolute
    from videogen_pipelines.training.stages import STAGES

    settings = load_dataclass(STAGES[stage].config, load_yaml(config), str(config), overrides)
    job = TrainingJob(stage, settings, absolute(out), tuple(prompts or []))
    if engine.workers is None and engine.address is None:
        run_here(job, _say_nothing if engine.as_json else _say)
    else:
        fewest_most = _workers(engine.workers or "1")
        run_on_ray(job, fewest_most, engine.address, engine.max_failures)
    last = last_report(job)
    if engine.as_json:
        typer.echo(json.dumps({"out": job.out, **last}))
    else:
        loss = f", loss {last['loss']:.4g}" if "loss" in last else ""  # where its line is lost
        typer.echo(f"Trained to step {last['step']:,}{loss}: {job.out}")


def _data(data: str | None) -> list[str]:
    return [] if data is None else [f"data={json.dumps(data)}"]


def _workers(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?::(\d+))?", text)
    fewest, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= fewest <= most:
        raise typer.BadParameter(f"--workers: got '{text}', expected 4, or 2:8 for 2 to 8")
    return fewest, most


def _say(step: int, loss: float) -> None:
    if step % 10 == 0:
        typer.echo(f"step {step:,}  loss {loss:.4f}", err=True)


def _say_nothing(step: int, loss: float) -> None:
    pass
