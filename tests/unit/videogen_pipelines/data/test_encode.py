"""`data encode` with an engine in this process: latents for training, and what is left out."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load

from tests.unit.videogen_pipelines.data.conftest import InProcess, save_scene, scene
from videogen.errors import ConfigError, StorageError
from videogen.loading import load_generator
from videogen.media import read_video, write_video
from videogen.models.latents_digest import latents_digest
from videogen.training.encoded_clips import EncodedClips, encoded_with
from videogen_pipelines.data.encode import EncodeJob, EncodeReport, encode
from videogen_pipelines.data.encode_workload import ClipShape, fitted, fitting_size
from videogen_pipelines.data.shards import read_shard, write_shard


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two shards of two clips and one, one of which is no video."""
    folder = tmp_path / "shards"
    for bucket, names in (("a", ("one", "two")), ("b", ("three",))):
        (folder / bucket).mkdir(parents=True)
        samples = []
        for index, name in enumerate(names):
            path = tmp_path / f"{name}.mp4"
            save_scene(path, index, num_frames=11, side=44)
            said = json.dumps({"caption": f"clip {name}", "fps": 12}).encode()
            samples.append((name, {"mp4": path.read_bytes(), "json": said}))
        write_shard(folder / bucket / "clips-0.tar", samples)
    return folder


def run(shards: Path, out: Path, model: Path, engine: Any = None, **shape: int) -> EncodeReport:
    job = EncodeJob.check(str(shards), str(out), ClipShape(**shape), [f"model.name={model}"])
    return encode(job, Console(file=io.StringIO()), engine=engine or InProcess())


def test_latents_are_those_of_the_vae_and_training_reads_them(
    shards: Path, tmp_path: Path, tiny_model: Path
):
    out = tmp_path / "out"
    report = run(shards, out, tiny_model)
    assert (report.state, report.shards, report.clips) == ("complete", 2, 3)
    assert encoded_with(out)["vae_digest"] == latents_digest(tiny_model)
    clips = EncodedClips(out)
    assert sorted(clip.caption for clip in clips.clips) == ["clip one", "clip three", "clip two"]
    # 11 frames hold 9 = 4*2+1; 44 px hold 32, a multiple of 16 = 8 (VAE) x 2 (patch).
    assert {clip.shape for clip in clips.clips} == {(4, 3, 4, 4)}
    model = load_generator(tiny_model).model
    frames, _ = read_video(tmp_path / "one.mp4")
    cropped = torch.from_numpy(frames[:9, 6:38, 6:38].copy()).permute(3, 0, 1, 2)[None]
    with torch.inference_mode():
        expected = model.normalise(model.vae.encode(cropped.float() / 127.5 - 1))
        said = model.text.encode(["clip one"])
    index = next(i for i, clip in enumerate(clips.clips) if clip.caption == "clip one")
    torch.testing.assert_close(clips.latents([index]), expected, atol=2e-3, rtol=1e-3)
    sample = dict(read_shard(out / "shards/a/clips-0.tar"))["one"]
    text = load(sample["text.safetensors"])
    torch.testing.assert_close(text["tokens"].float(), said.tokens[0], atol=2e-3, rtol=1e-3)
    assert text["mask"].tolist() == said.mask[0].tolist()
    assert json.loads(sample["json"])["fps"] == 12


def test_a_stopped_run_goes_on(shards: Path, tmp_path: Path, tiny_model: Path):
    out = tmp_path / "out"
    assert run(shards, out, tiny_model, InProcess(stop_after=1)).state == "interrupted"
    said = encoded_with(out)
    del said["vae_digest"], said["text_digest"]  # as it was written before they were
    (out / "encode.json").write_text(json.dumps(said))
    second = InProcess(order=1)
    assert run(shards, out, tiny_model, second).state == "complete"
    assert len(second.done) == 1
    assert len(EncodedClips(out)) == 3


def test_a_damaged_clip_is_skipped_by_name_and_a_damaged_shard_fails(
    shards: Path, tmp_path: Path, tiny_model: Path
):
    write_shard(
        shards / "b/clips-0.tar",
        [
            ("bad", {"mp4": b"no video"}),
            ("bare", {"txt": b"no clip"}),
            ("said", {"mp4": b"", "json": b"no JSON"}),
        ],
    )
    (shards / "c.tar").write_bytes((shards / "a/clips-0.tar").read_bytes()[:700])
    report = run(shards, tmp_path / "out", tiny_model)
    assert (report.state, report.clips) == ("some_failed", 2)
    assert set(report.skipped) == {"bad", "bare", "said"}
    assert "expected a member bare.mp4" in report.skipped["bare"]
    assert set(report.failures) == {"c"}
    assert "c.tar" in report.failures["c"]


def test_another_model_or_shape_needs_another_output(
    shards: Path, tmp_path: Path, tiny_model: Path
):
    run(shards, tmp_path / "out", tiny_model, num_frames=5, height=32, width=32)
    assert EncodedClips(tmp_path / "out").clips[0].shape == (4, 2, 4, 4)
    with pytest.raises(ConfigError, match="Fix: give the same options, or another --out"):
        run(shards, tmp_path / "out", tiny_model)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(StorageError, match="expected shards of clips"):
        run(tmp_path / "nothing", tmp_path / "out", tiny_model)


def test_faster_clips_are_thinned_and_slower_ones_stay(tmp_path: Path, tiny_model: Path):
    (tmp_path / "in").mkdir()
    clips = []
    for name, fps in (("fast", 30.0), ("slow", 6.0)):
        frames = scene(5, num_frames=18, side=32)
        write_video(tmp_path / f"{name}.mp4", frames, fps)
        said = {"mp4": (tmp_path / f"{name}.mp4").read_bytes(), "txt": name.encode()}
        clips.append((name, {**said, "json": json.dumps({"fps": fps}).encode()}))
    write_shard(tmp_path / "in" / "a.tar", clips)
    run(tmp_path / "in", tmp_path / "out", tiny_model, fps=8)
    found = EncodedClips(tmp_path / "out")
    assert {clip.caption: (clip.fps, clip.shape[1]) for clip in found.clips} == {
        "fast": (8.0, 2),  # frames 0, 4, 8, 11 and 15 of 18
        "slow": (6.0, 5),
    }
    model = load_generator(tiny_model).model
    frames, _ = read_video(tmp_path / "fast.mp4")
    thin = torch.from_numpy(frames[[0, 4, 8, 11, 15]]).permute(3, 0, 1, 2)[None]
    with torch.inference_mode():
        expected = model.normalise(model.vae.encode(thin.float() / 127.5 - 1))
    index = next(i for i, clip in enumerate(found.clips) if clip.caption == "fast")
    torch.testing.assert_close(found.latents([index]), expected, atol=2e-3, rtol=1e-3)
    with pytest.raises(ConfigError, match="--fps: got 0, expected more than 0"):
        ClipShape.check(fps=0)


def test_frames_are_scaled_and_cropped_around_the_middle(tiny_model: Path):
    spec = load_generator(tiny_model).spec
    assert fitting_size(spec, 5, 100, 47) == (96, 32)
    rows = torch.arange(64).repeat(32, 1).numpy().astype("uint8")  # 32 high, 64 wide
    frame = rows[..., None].repeat(3, -1)
    assert fitted(frame, 32, 32)[0, :, 0].tolist() == list(range(16, 48))
    halved = fitted(frame, 16, 16)
    assert halved.shape == (16, 16, 3)
    assert abs(int(halved[0, 0, 0]) - 16) <= 1


@pytest.mark.parametrize("side", [63, 255, 479])
def test_frames_that_lack_one_pixel_are_scaled(side: int):
    frame = np.full((side, side, 3), 7, np.uint8)
    for height, width in ((side + 1, side + 1), (side + 1, side), (side, side + 1)):
        found = fitted(frame, height, width)
        assert found.shape == (height, width, 3)
        assert (found == 7).all()


def test_captions_are_text_and_a_strange_description_costs_its_clip_alone(
    tmp_path: Path, tiny_model: Path
):
    save_scene(tmp_path / "clip.mp4", 0, num_frames=1, side=32)
    video = (tmp_path / "clip.mp4").read_bytes()
    samples = [
        ("null", {"mp4": video, "json": b'{"caption": null}', "txt": b"from the text\n"}),
        ("list", {"mp4": video, "json": b"[1]"}),
        ("../out", {"mp4": video, "txt": b"elsewhere"}),
    ]
    (tmp_path / "shards").mkdir()
    write_shard(tmp_path / "shards" / "a.tar", samples)
    report = run(tmp_path / "shards", tmp_path / "out", tiny_model)
    assert [clip.caption for clip in EncodedClips(tmp_path / "out").clips] == ["from the text"]
    assert report.skipped == {
        "list": "list.json: got list, expected an object.",
        "../out": "../out: got a name that leads out of a folder, expected none such.",
    }


def test_shards_that_would_become_one_are_refused(tmp_path: Path, tiny_model: Path):
    for folder in ("", "shards"):
        (tmp_path / "in" / folder).mkdir(exist_ok=True)
        write_shard(tmp_path / "in" / folder / "a.tar", [])
    with pytest.raises(ConfigError, match=r"got a.tar and shards/a.tar, expected shards of diff"):
        run(tmp_path / "in", tmp_path / "out", tiny_model)


def test_a_shard_that_is_gone_is_made_again_or_missed(tmp_path: Path, tiny_model: Path):
    save_scene(tmp_path / "clip.mp4", 0, num_frames=1, side=32)
    sample = {"mp4": (tmp_path / "clip.mp4").read_bytes(), "txt": b"a clip"}
    (tmp_path / "in").mkdir()
    for name in "ab":
        write_shard(tmp_path / "in" / f"{name}.tar", [(name, sample)])
    run(tmp_path / "in", tmp_path / "out", tiny_model)
    gone = tmp_path / "out" / "shards" / "b.tar"
    before = gone.read_bytes()
    gone.unlink()
    with pytest.raises(StorageError, match=r"got no shards/b.tar, expected every shard"):
        run(tmp_path / "out", tmp_path / "other", tiny_model)
    engine = InProcess()
    assert run(tmp_path / "in", tmp_path / "out", tiny_model, engine).clips == 2
    assert (engine.done, gone.read_bytes()) == (["b"], before)
