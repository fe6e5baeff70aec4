from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from videogen.defaults import PACKAGE_DEFAULTS
from videogen.diffusion.schedules import flow_sigmas
from videogen.errors import ConfigError, WeightsError
from videogen.extension.plan import DEFAULT_CONTEXT_NOISE
from videogen.extension.sampler import LatentSampler
from videogen.generator import VideoGenerator
from videogen.models.config import DiTConfig, TextConfig, VAEConfig
from videogen.models.dit import SpacetimeDiT
from videogen.models.spec import LORA_FILE, LatentStatistics, ModelSpec
from videogen.models.text import WordEncoder
from videogen.models.vae import VideoVAE
from videogen.models.weights import load_model, save_model
from videogen.training.config import ScheduleConfig
from videogen.training.distill import Distillation, distill
from videogen.training.distill_config import DistillConfig, TrajectoryPoolConfig
from videogen.training.distill_teacher import Start, Teacher
from videogen.training.draws import generator_of
from videogen.training.finetune_state import CHECKPOINT_FILE
from videogen.training.world import World

SAMPLING = {
    "num_frames": 5,
    "height": 16,
    "width": 16,
    "num_inference_steps": 9,
    "guidance_scale": 3.0,
    "context_guidance": 2.0,
    "flow_shift": 3.0,
    "chunk_frames": 13,
}
SCHEDULE = ScheduleConfig(
    num_steps=60,
    batch_size=8,
    learning_rate=0.01,
    warmup_steps=5,
    ema_decay=0.9,
    num_threads=1,
    log_every=1,
    checkpoint_every=30,
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(3)
    dit_config = DiTConfig(in_channels=4, width=16, depth=1, num_heads=2, text_width=16)
    vae = VAEConfig(latent_channels=4, widths=(8, 8, 8))
    text_config = TextConfig(width=16, depth=1, num_heads=2)
    words = ("red", "blue", "circle", "square", "left", "right")
    spec = ModelSpec(
        name="base",
        dit=dit_config,
        vae=vae,
        text=text_config,
        latents=LatentStatistics(mean=(0.0,) * 4, std=(1.0,) * 4),
        sampling=SAMPLING,
        vocabulary=words,
    )
    dit = SpacetimeDiT(dit_config)
    for parameter in dit.parameters():  # a fresh one predicts nothing but zero
        torch.nn.init.normal_(parameter, std=0.25)
    save_model(folder, spec, dit, VideoVAE(vae), WordEncoder(text_config, words))
    return folder


@pytest.fixture
def config(base):
    return DistillConfig(
        schedule=SCHEDULE,
        model=str(base),
        num_inference_steps=3,
        teacher_steps=9,
        lora_rank=8,
        teacher_batch=16,
        autocast=False,
        pools=(
            TrajectoryPoolConfig(
                num_frames=5, initial=32, capacity=40, fresh_per_step=0.5, share=0.5
            ),
            TrajectoryPoolConfig(
                num_frames=13, goes_on=0.7, initial=32, capacity=40, fresh_per_step=0.5, share=0.5
            ),
        ),
    )


def log_of(folder):
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_few_steps_come_close_to_many_guided_ones(config, base, tmp_path):
    distill(config, tmp_path)
    losses = [row["loss"] for row in log_of(tmp_path)]
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    cpu = torch.device("cpu")
    teacher = VideoGenerator(load_model(base), cpu)
    student = VideoGenerator(load_model(tmp_path / "model"), cpu)
    assert student.digest != teacher.digest
    request = student.resolve(prompt="red circle", seed=4)
    settings = (request.num_inference_steps, request.guidance_scale, request.context_guidance)
    assert settings == (3, 1.0, 1.0)
    few = {"num_inference_steps": 3, "guidance_scale": 1.0}
    better = 0
    for seed in range(8):
        wanted = teacher.denoise(teacher.resolve(prompt="red circle", seed=seed))
        got = student.denoise(student.resolve(prompt="red circle", seed=seed))
        naive = teacher.denoise(teacher.resolve(prompt="red circle", seed=seed, **few))
        better += bool((got - wanted).norm() < (naive - wanted).norm())
    assert better == 8


def test_an_interrupted_run_goes_on_as_if_it_never_stopped(config, tmp_path):
    short = replace(config, schedule=replace(SCHEDULE, num_steps=24, checkpoint_every=50))
    distill(short, tmp_path / "whole")
    distill(short, tmp_path / "parts", stop_at=10)
    distill(short, tmp_path / "parts")
    whole, parts = (log_of(tmp_path / name) for name in ("whole", "parts"))
    assert [row["loss"] for row in whole] == [row["loss"] for row in parts]
    a, b = (tmp_path / name / "model" / LORA_FILE for name in ("whole", "parts"))
    assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize("lost", ["checkpoint", "checkpoint and pool"])
def test_a_run_killed_between_its_pool_and_its_checkpoint_goes_on_exactly(config, tmp_path, lost):
    pool = replace(config.pools[1], initial=16, fresh_per_step=8, share=1.0)
    schedule = replace(SCHEDULE, num_steps=9, checkpoint_every=3)
    short = replace(config, schedule=schedule, pools=(pool,))
    distill(short, tmp_path / "whole")
    parts = tmp_path / "parts"
    for _ in range(2):  # twice at the same step
        distill(short, parts, stop_at=3)
        kept = (parts / CHECKPOINT_FILE).read_bytes()
        distill(short, parts, stop_at=6)
        (parts / CHECKPOINT_FILE).write_bytes(kept)
    if lost == "checkpoint and pool":
        (parts / "trajectories-0.safetensors").unlink()
    distill(short, parts)
    whole, again = (log_of(tmp_path / name) for name in ("whole", "parts"))
    assert [row["loss"] for row in whole] == [row["loss"] for row in again]


def test_another_rank_does_not_fit_the_checkpoint(config, tmp_path):
    distill(config, tmp_path, stop_at=1)
    with pytest.raises(WeightsError, match="does not fit this configuration"):
        distill(replace(config, lora_rank=4), tmp_path)


def test_other_steps_do_not_go_on_from_what_was_learned_of_these(config, tmp_path):
    distill(config, tmp_path, stop_at=1)
    halves = replace(config, num_inference_steps=1)
    with pytest.raises(WeightsError, match="distils other steps"):
        distill(halves, tmp_path)
    (tmp_path / CHECKPOINT_FILE).unlink()
    stage = Distillation(halves, World())
    stage.restore(tmp_path)
    assert stage.pools[0]._tensors["states"].shape[1] == 2


def test_a_teacher_that_recommends_nothing_is_sampled_as_usual(config, base):
    model = load_model(base)
    plain = replace(model, spec=replace(model.spec, sampling={}))
    teacher = Teacher.of(config, plain)
    assert teacher.guidance == teacher.context_guidance == PACKAGE_DEFAULTS.guidance_scale
    assert teacher.context_noise == DEFAULT_CONTEXT_NOISE
    assert torch.equal(teacher.sigmas, flow_sigmas(9, PACKAGE_DEFAULTS.flow_shift))
    size = (PACKAGE_DEFAULTS.height, PACKAGE_DEFAULTS.width)
    assert teacher.latent_size == (4, size[0] // 8, size[1] // 8)


def test_the_teacher_keeps_the_states_of_its_own_sampler(config, base):
    model = load_model(base)
    teacher = Teacher.of(config, model)
    pipe = VideoGenerator(model, torch.device("cpu"))
    request = pipe.resolve(prompt="red circle", seed=1)
    wanted = pipe.denoise(request)
    assert torch.equal(teacher.stops, flow_sigmas(9, 3.0)[[0, 3, 6, 9]])
    noise = wanted.new_zeros(1, *wanted.shape)
    new = torch.zeros(1, wanted.shape[1], dtype=torch.bool)
    start = Start(["red circle"], noise, new, torch.tensor([3.0]))
    initial = torch.randn(noise.shape, generator=generator_of(0))
    states = teacher.walk(start, initial)
    sampler = LatentSampler(model, request, torch.device("cpu"), pipe.halves)
    solved = sampler.solve(sampler.denoiser(0, 2), 0, 2, initial=initial)
    assert torch.allclose(states[:, 0].float(), initial, atol=2e-3)
    assert torch.allclose(states[:, -1].float(), solved, atol=5e-3)


def test_known_frames_stay_and_do_not_count(config, tmp_path):
    stage = Distillation(config, World())
    stage.pools[1].fill(tmp_path)
    segments = stage.pools[1].draw(200, generator_of(0))
    is_known = segments.is_known
    assert 0.1 < is_known.float().mean() < 0.6
    frames = is_known[:, None, :, None, None].expand_as(segments.start)
    assert torch.equal(segments.start[frames], segments.end[frames])
    plain = stage.losses(segments, range(200))
    segments.end[frames] += 5.0
    assert torch.equal(plain["loss"], stage.losses(segments, range(200))["loss"])
    assert plain["loss_by_segment"][1].sum() == 200


def test_impossible_settings_are_refused(config):
    with pytest.raises(ConfigError, match="teacher_steps: got 8, expected a multiple of"):
        replace(config, teacher_steps=8)
    for name in ("lora_rank", "accumulate", "teacher_batch"):
        with pytest.raises(ConfigError, match=f"{name}: got 0"):
            replace(config, **{name: 0})
