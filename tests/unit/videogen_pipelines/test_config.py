"""The run configuration: precedence, and every mistake named at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from videogen.config import load_yaml
from videogen.errors import ConfigError
from videogen_pipelines.config import RunConfig, load_run_config, override

CONFIGS = Path(__file__).parents[3] / "configs" / "generate"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text("schema: 1\nsampling: {fps: 8, num_frames: 33}\ncluster: {gangs: 2}\n")
    return path


def test_overrides_win_over_the_file_and_the_file_over_package_defaults(file: Path) -> None:
    config = load_run_config(file, ["sampling.fps=24", "cluster.gang.seq_degree=4"])
    assert (config.sampling.fps, config.sampling.num_frames) == (24.0, 33)
    assert (config.cluster.gangs, config.cluster.max_attempts) == (2, 3)
    assert config.cluster.gang.world_size == 4
    assert (config.model.name, config.output.codec) == ("default", "h264")


def test_without_a_file_there_are_package_defaults() -> None:
    assert load_run_config() == RunConfig()
    assert load_run_config(overrides=["cluster.gangs=3"]).cluster.gangs == 3


def test_a_section_left_empty_is_the_default(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("schema: 1\nmodel:\n  # name: other\nsampling:\n")
    assert load_run_config(path) == RunConfig()


def test_resolved_is_json_and_reads_back_to_the_same(file: Path) -> None:
    config = load_run_config(file, ["sampling.guidance_interval=[0, 0.5]"])
    resolved = config.resolved()
    assert resolved["schema"] == 1
    assert resolved["sampling"] == {"num_frames": 33, "fps": 8.0, "guidance_interval": [0, 0.5]}
    assert resolved["cluster"]["gang"] == {
        "seq_degree": 1,
        "cfg_degree": 1,
        "ulysses_degree": None,
        "weights": "auto",
        "gpu_memory": None,
    }
    assert RunConfig.model_validate(json.loads(json.dumps(resolved))) == config


def test_the_digest_is_of_the_values_and_not_of_how_they_came(file: Path) -> None:
    said = load_run_config(overrides=["cluster.gangs=2", "sampling={fps: 8.0, num_frames: 33}"])
    assert said.sha256() == load_run_config(file).sha256()
    assert said.sha256() != RunConfig().sha256()


@pytest.mark.parametrize("value", ["a b", "", None, 3, [0.0, 0.5], True, "1e3", "no", "é: [x"])
def test_override_quotes_values_as_yaml(value: object) -> None:
    from videogen.config import apply_overrides

    assert apply_overrides({}, [override("a.b", value)]) == {"a": {"b": value}}


def test_all_mistakes_come_at_once_each_with_its_source(file: Path) -> None:
    file.write_text(
        "schema: 1\nsampling: {fps: 0, num_frame: 3}\ncluster: {gangs: 0, gang: 3}\nmodle: x\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_run_config(file, ["output.codec=h265", "cluster.max_attempts=0"])
    assert sorted(str(caught.value).splitlines()) == sorted(
        [
            f"{file}: sampling.fps: got 0, expected a finite number above 0 and at most 240",
            f"{file}: sampling.num_frame: unknown field, expected one of negative_prompt, "
            "num_frames, height, width, fps, num_inference_steps, guidance_scale, "
            "guidance_rescale, guidance_interval, sampler, flow_shift, flow_shifts, eta, "
            "extension, chunk_frames, context_frames, context_noise, context_guidance, "
            "async_steps, anchor. Did you mean 'num_frames'?",
            f"{file}: cluster.gangs: got 0, expected an integer of at least 1 or auto",
            f"{file}: cluster.gang: got 3, expected a section (a mapping of fields)",
            f"{file}: modle: unknown field, expected one of schema, model, sampling, output, "
            "cluster, evaluate. Did you mean 'model'?",
            "--set output.codec=h265: output.codec: got 'h265', expected one of h264, hevc, av1, "
            "vp9. Did you mean 'h264'?",
            "--set cluster.max_attempts=0: cluster.max_attempts: got 0, expected an integer of at "
            "least 1",
        ]
    )


def test_the_example_configurations_load() -> None:
    names = sorted(path.name for path in CONFIGS.glob("*.yaml"))
    assert names == ["default.yaml", "quick.yaml"]
    for name in names:
        load_run_config(CONFIGS / name)


def test_the_default_example_says_every_section_and_changes_nothing() -> None:
    said = load_yaml(CONFIGS / "default.yaml")
    config = load_run_config(CONFIGS / "default.yaml")
    assert list(said) == list(RunConfig().resolved())
    for section in ("model", "output", "cluster", "evaluate"):
        assert said[section].keys() == RunConfig().resolved()[section].keys()
        assert getattr(config, section) == getattr(RunConfig(), section)
