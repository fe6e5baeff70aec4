"""`videogen calibrate`: what step caching costs in quality and gains in time, for one model."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from videogen.evaluation.calibration import Calibrated
    from videogen.models.variant import StepCache

_HEADERS = ("setting", "PSNR dB", "worst", "SSIM", "s a clip", "faster")
_FIRST_BLOCK = "0.03,0.06,0.1,0.2"
_PYRAMID = "2/2/2,2/4/6,3/6/9"


class Kind(StrEnum):
    """How work of earlier steps is used again."""

    FIRST_BLOCK = "first_block"
    PYRAMID = "pyramid"


def calibrate(
    kind: Annotated[
        Kind, typer.Option(help="first_block, or pyramid for factorized models.")
    ] = Kind.FIRST_BLOCK,
    values: Annotated[
        str | None,
        typer.Option(help=f"Thresholds ({_FIRST_BLOCK}), or ranges of pyramid ({_PYRAMID})."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="default, a model's folder, or s3://….")] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", "-p", help="A prompt to make a clip of; repeatable."),
    ] = None,
    num_inference_steps: Annotated[int, typer.Option(min=2, help="Denoising steps.")] = 50,
    num_frames: Annotated[int | None, typer.Option(min=1, help="Frames of a clip.")] = None,
    config: Annotated[str | None, typer.Option("--config", "-c", help="A YAML file.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A value of the configuration: model.dtype=float32; repeatable."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Compare clips with step caching against the same clips without, here and now.

    Example: videogen calibrate --prompt "a red circle moves right" --values 0.1,0.2

    Example: videogen calibrate --kind pyramid --model /models/Latte-1 -p "a dog runs"
    """
    from videogen.evaluation.calibration import calibrate as compare
    from videogen.loading import load_generator
    from videogen_pipelines.config import load_run_config, override
    from videogen_pipelines.model_cache import local_model

    named = {"model.name": model, "model.cache": {"kind": kind.value}}
    flags = [override(path, value) for path, value in named.items() if value is not None]
    settings = load_run_config(config, [*(overrides or []), *flags])
    section = settings.model
    caches = _settings(kind, values or (_PYRAMID if kind is Kind.PYRAMID else _FIRST_BLOCK))
    generator = load_generator(
        local_model(section.name),
        section.device,
        section.dtype,
        section.attention,
        decoder=section.decoder,
        variant=section.variant,
        residence=section.residence,
    )
    asked: dict[str, Any] = settings.sampling.model_dump(exclude_none=True)
    asked |= {"num_inference_steps": num_inference_steps}
    asked |= {} if num_frames is None else {"num_frames": num_frames}
    requests = [
        generator.resolve(**asked, prompt=said, seed=seed)
        for seed, said in enumerate(prompt or ["a red circle moves right"])
    ]
    rows = list(compare(generator, requests, caches))
    typer.echo(_as_json(rows) if json else _as_table(rows))


def _settings(kind: Kind, values: str) -> list[StepCache]:
    """The settings that a list of values means.

    Raises:
        ConfigError: a value is no threshold, or no three ranges.
    """
    from videogen.errors import ConfigError
    from videogen.models.variant import StepCache

    try:
        if kind is Kind.FIRST_BLOCK:
            return [StepCache("first_block", float(value)) for value in values.split(",")]
        settings = []
        for value in values.split(","):
            space, time, text = map(int, value.split("/"))
            settings.append(StepCache("pyramid", ranges=(space, time, text)))
        return settings
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(
            f"--values: got '{values}', expected numbers such as "
            f"{_PYRAMID if kind is Kind.PYRAMID else _FIRST_BLOCK}. Fix: give one or more of these."
        ) from error


def _as_json(rows: list[Calibrated]) -> str:
    return json_module.dumps([asdict(row) for row in rows], indent=2)


def _as_table(rows: list[Calibrated]) -> str:
    lines = [_HEADERS]
    lines += [
        (
            row.strength,
            f"{row.psnr_db:.1f}",
            f"{row.worst_psnr_db:.1f}",
            f"{row.ssim:.3f}",
            f"{row.seconds:.2f}",
            f"{row.speedup:.2f}x",
        )
        for row in rows
    ]
    return "\n".join("  ".join(f"{cell:>9}" for cell in line) for line in lines)
