"""The table of bad configurations and models, and what a person is told, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from videogen.errors import ConfigError, WeightsError
from videogen.models.spec import read_spec, resolve_model
from videogen.models.weights import load_model
from videogen.requests import SAMPLERS
from videogen_pipelines.config import load_run_config

SECTIONS = "schema, model, sampling, output, cluster, evaluate"

# YAML and overrides -> the whole message, FILE standing for the path.
CONFIGS = {
    "bad YAML": (
        "schema: 1\nmodel: {name: x\n",
        [],
        "FILE: line 3, column 1: not valid YAML: expected ',' or '}', but got '<stream end>'",
    ),
    "a tab": (
        "schema: 1\nmodel:\n\tname: x\n",
        [],
        "FILE: line 3, column 1: not valid YAML: found character '\\t' that cannot start any token",
    ),
    "a key twice": (
        "schema: 1\nmodel:\n  name: a\n  name: b\n",
        [],
        "FILE: line 4, column 3: not valid YAML: duplicate key 'name'",
    ),
    "no schema": (
        "model: {name: x}\n",
        [],
        "FILE: schema: missing, expected 1. Fix: add the line 'schema: 1'.",
    ),
    "schema 2": (
        "schema: 2\n",
        [],
        "FILE: schema: got 2, expected 1. Fix: write the file for schema 1, or use the release of "
        "videogen that reads this one.",
    ),
    "an unknown section": (
        "schema: 1\nevaluation: {}\n",
        [],
        f"FILE: evaluation: unknown field, expected one of {SECTIONS}. Did you mean 'evaluate'?",
    ),
    "a misspelt key": (
        "schema: 1\ncluster: {gang: {seq_degre: 2}}\n",
        [],
        "FILE: cluster.gang.seq_degre: unknown field, expected one of seq_degree, cfg_degree, "
        "ulysses_degree, weights, gpu_memory. Did you mean 'seq_degree'?",
    ),
    "a section that is a value": (
        "schema: 1\nmodel: default\n",
        [],
        "FILE: model: got 'default', expected a section (a mapping of fields)",
    ),
    "a list": ("- schema: 1\n", [], "FILE: got [{'schema': 1}], expected a mapping (lines 'key: "),
    "a wrong type": (
        "schema: 1\nsampling: {num_frames: '33'}\n",
        [],
        "FILE: sampling.num_frames: got '33', expected an integer from 1 to 1000000. "
        "Fix: write the number without quotes.",
    ),
    "an unknown sampler": (
        "schema: 1\nsampling: {sampler: unpc}\n",
        [],
        f"FILE: sampling.sampler: got 'unpc', expected one of {', '.join(SAMPLERS)}. "
        "Did you mean 'unipc'?",
    ),
    "an unknown codec": (
        "schema: 1\noutput: {codec: gif}\n",
        [],
        "FILE: output.codec: got 'gif', expected one of h264, hevc, av1, vp9",
    ),
    "too many guidance ranks": (
        "schema: 1\ncluster: {gang: {cfg_degree: 4}}\n",
        [],
        "FILE: cluster.gang.cfg_degree: got 4, expected an integer from 1 to 2 or auto",
    ),
    "--set of a wrong type": (
        "schema: 1\n",
        ["cluster.gangs=many"],
        "--set cluster.gangs=many: cluster.gangs: got 'many', expected an integer of at least 1 "
        "or auto",
    ),
    "--set of an unknown key": (
        "schema: 1\n",
        ["sampling.stepz=4"],
        "--set sampling.stepz=4: sampling.stepz: unknown field, expected one of negative_prompt, ",
    ),
    "--set without a value": (
        "schema: 1\n",
        ["model.name"],
        "--set: got 'model.name', expected a.b=value. "
        "Fix: for example --set sampling.num_frames=33.",
    ),
    "--set through a value": (
        "schema: 1\nmodel: {name: x}\n",
        ["model.name.x=1"],
        "--set model.name.x=1: 'model.name' holds 'x', expected a section. Fix: set it directly.",
    ),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_bad_configuration(case: str, tmp_path: Path) -> None:
    text, overrides, message = CONFIGS[case]
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_run_config(path, overrides)
    said = str(caught.value).replace(str(path), "FILE")
    assert said.startswith(message) if message.endswith((": ", ", ")) else said == message


def test_a_missing_configuration_file(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    with pytest.raises(ConfigError) as caught:
        load_run_config(path)
    assert str(caught.value) == (
        f"{path}: got no readable file (No such file or directory), expected a YAML file"
    )


def test_a_missing_model_folder(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        resolve_model(tmp_path / "none")
    assert str(caught.value).startswith(
        f"model: got '{tmp_path}/none', expected 'default', a folder with model.yaml"
    )


def test_weights_that_are_not_those_of_the_description(tmp_path: Path, tiny_model: Path) -> None:
    for file in tiny_model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "dit.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        load_model(tmp_path)
    said = str(caught.value)
    assert said.startswith(f"{weights}: got sha256 ")
    assert f"expected {read_spec(tmp_path).files['dit.safetensors']}" in said
    assert said.endswith("Fix: copy or download the model folder again.")
