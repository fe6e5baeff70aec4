"""Optional networks come from local folders; tiny ones with random weights stand in for them."""

import dataclasses
import json
import string

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file

from videogen.errors import ConfigError, WeightsError
from videogen.evaluation import Evaluator
from videogen.evaluation.backends.encoders import (
    PublishedFlow,
    load_encoder,
    load_flow,
    prepare,
)
from videogen.evaluation.backends.folders import WEIGHTS, check_folder
from videogen.evaluation.backends.raft import Raft, pad
from videogen.shapes import render
from videogen.shapes.scene import ObjectSpec, Scene

BALL = ObjectSpec("red", "circle", "right", 0.3, 0.5, 0.2, speed=0.03)
FRAMES = render(Scene((BALL,), "blue gradient"), 6, 40, 56)
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    letters = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    vocabulary = {piece: i for i, piece in enumerate(letters)}
    start = len(vocabulary)
    vocabulary |= {"<|startoftext|>": start, "<|endoftext|>": start + 1}
    transformers.CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    text = {**VISION, "vocab_size": start + 2, "max_position_embeddings": 32}
    text |= {"bos_token_id": start, "eos_token_id": start + 1, "pad_token_id": start + 1}
    vision = {**VISION, "image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    torch.manual_seed(0)
    transformers.CLIPModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def dinov2_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dinov2")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(**VISION, image_size=28, patch_size=14)
    transformers.Dinov2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def dino_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dino")
    torch.manual_seed(0)
    config = transformers.ViTConfig(**VISION, image_size=32, patch_size=16)
    transformers.ViTModel(config).save_pretrained(folder)
    return folder


def cosine_by_hand(vectors):
    """VBench's loop, with the first frame and the one before."""
    total = 0.0
    for i in range(1, len(vectors)):
        previous = max(0.0, float(torch.cosine_similarity(vectors[i - 1], vectors[i], dim=0)))
        first = max(0.0, float(torch.cosine_similarity(vectors[0], vectors[i], dim=0)))
        total += (previous + first) / 2
    return total / (len(vectors) - 1)


def test_clip_scores_the_background_and_the_prompt(clip_folder):
    evaluator = Evaluator(["consistency.clip", "text.clip"], weights={"clip": clip_folder})
    metrics = evaluator.evaluate(np.split(FRAMES, 3), 12, "a red circle")
    model = transformers.CLIPModel.from_pretrained(clip_folder).eval()
    tokenizer = transformers.CLIPTokenizer.from_pretrained(clip_folder)
    pixels = torch.cat([prepare(frame, "clip", 32) for frame in FRAMES])
    with torch.no_grad():
        output = model(**tokenizer("a red circle", return_tensors="pt"), pixel_values=pixels)
    images = output.image_embeds
    alignment = (images @ output.text_embeds[0]).mean()
    assert metrics["text.clip"].value == pytest.approx(float(alignment), abs=1e-5)
    assert metrics["consistency.clip"].value == pytest.approx(cosine_by_hand(images), abs=1e-5)
    assert len(metrics["text.clip"].details["weights_sha256"]) == 64
    whole = evaluator.evaluate(FRAMES, 12, "a red circle")
    assert whole.values(detailed=True) == metrics.values(detailed=True)
    assert evaluator.evaluate(FRAMES, 12).skipped == {"text.clip": "needs a prompt"}


def test_dinov2_scores_the_subject(dinov2_folder):
    evaluator = Evaluator(["consistency.dinov2"], weights={"dinov2": dinov2_folder})
    value = evaluator.evaluate(FRAMES, 12)["consistency.dinov2"].value
    model = transformers.Dinov2Model.from_pretrained(dinov2_folder).eval()
    with torch.no_grad():
        pixels = torch.cat([prepare(frame, "dinov2", 224) for frame in FRAMES])
        tokens = model(pixels).last_hidden_state
    assert value == pytest.approx(cosine_by_hand(tokens[:, 0]), abs=1e-5)


def test_vbench_names_are_for_vbenchs_networks_only(dino_folder, monkeypatch):
    evaluator = Evaluator(["vbench.subject_consistency"], weights={"dino": dino_folder})
    skipped = evaluator.evaluate(FRAMES, 12).skipped
    assert "another size" in skipped["vbench.subject_consistency"]
    size = {"hidden_size": 16, "num_hidden_layers": 2, "patch_size": 16}
    ours = dataclasses.replace(WEIGHTS["dino"], published=size)
    monkeypatch.setitem(WEIGHTS._entries, "dino", ours)
    evaluator = Evaluator(["vbench.subject_consistency"], weights={"dino": dino_folder})
    result = evaluator.evaluate(FRAMES, 12)["vbench.subject_consistency"]
    model = transformers.ViTModel.from_pretrained(dino_folder).eval()
    with torch.no_grad():
        pixels = torch.cat([prepare(frame, "dino", 32) for frame in FRAMES])
        tokens = model(pixels, interpolate_pos_encoding=True).last_hidden_state
    assert result.value == pytest.approx(cosine_by_hand(tokens[:, 0]), abs=1e-5)
    expected = (result.value - 0.1462) / (1 - 0.1462)
    assert result.details["normalised"] == pytest.approx(expected, abs=1e-6)


def test_dino_sees_the_whole_frame_and_clip_a_square():
    assert prepare(FRAMES[0], "dino", 224).shape == (1, 3, 224, 313)
    assert prepare(FRAMES[0], "clip", 224).shape == (1, 3, 224, 224)
    white = prepare(np.full((224, 224, 3), 255, np.uint8), "dino", 224)
    expected = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(white[0, :, 5, 5], expected)


def test_missing_weights_name_the_folder_and_the_files(tmp_path, dinov2_folder):
    with pytest.raises(
        WeightsError, match=r"nowhere'.*config\.json, model\.safetensors.*tokenizer"
    ):
        load_encoder("clip", tmp_path / "nowhere")
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"has no tokenizer\.json\|vocab\.json"):
        check_folder("clip", tmp_path)
    with pytest.raises(WeightsError, match="model_type: got 'dinov2', expected 'vit'"):
        check_folder("dino", dinov2_folder)
    with pytest.raises(ConfigError, match="weights: got 'dinov3'"):
        Evaluator(weights={"dinov3": tmp_path})


def test_pickled_weights_are_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "dinov2"}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(WeightsError, match="pickle can run code"):
        check_folder("dinov2", tmp_path)


@pytest.fixture(scope="module")
def raft_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raft")
    torch.manual_seed(0)
    state = {f"module.{key}": value for key, value in Raft().state_dict().items()}
    norm = {k: v for k, v in state.items() if ".downsample.1." in k}
    state |= {k.replace("downsample.1", "norm3"): v.clone() for k, v in norm.items()}
    save_file(state, folder / "raft-things.safetensors")
    return folder


def test_dynamic_degree_follows_vbenchs_rule(raft_folder, monkeypatch):
    evaluator = Evaluator(["vbench.dynamic_degree"], weights={"raft": raft_folder})
    speeds = iter([3.3, 4.0, 3.4, 9.0])
    monkeypatch.setattr(PublishedFlow, "top_speed", lambda self, a, b, share: next(speeds))
    frames = np.zeros((13, 160, 144, 3), np.uint8)
    result = evaluator.evaluate(frames, 24)["vbench.dynamic_degree"]
    assert result.details["least_px"] == pytest.approx(6 * 144 / 256, abs=1e-6)
    assert result.details["moving_pairs"] == 3
    assert result.details["least_pairs"] == round(4 * 5 / 16)
    assert result.value == 1
    assert "121 px" in evaluator.evaluate(FRAMES, 24).skipped["vbench.dynamic_degree"]
    assert result.curve is not None
    assert np.flatnonzero(np.isfinite(result.curve)).tolist() == [3, 6, 9, 12]


@pytest.mark.parametrize(
    ("pairs", "ends", "kept"),
    [([9, 9, 0, 0], [1, 1], 0), ([9, 0, 0, 0], [1, 1], 1), ([0, 0, 0, 0], [1, 99], 0)],
)
def test_the_static_filter_follows_vbenchs_rule(raft_folder, monkeypatch, pairs, ends, kept):
    evaluator = Evaluator(["vbench.static"], weights={"raft": raft_folder})
    speeds = iter([*map(float, pairs), *map(float, ends)])
    monkeypatch.setattr(PublishedFlow, "top_speed", lambda self, a, b, share: next(speeds))
    frames = np.zeros((5, 160, 144, 3), np.uint8)
    assert evaluator.evaluate(frames, 24)["vbench.static"].value == kept


def test_raft_reads_the_authors_names_and_refuses_others(raft_folder, tmp_path):
    flow = load_flow(raft_folder)
    first, second = (render(Scene((BALL,), "navy"), 2, 128, 136)[t] for t in (0, 1))
    assert np.isfinite(flow.top_speed(first, second, 0.05))
    assert pad(torch.zeros(1, 3, 40, 57)).shape[-2:] == (40, 64)
    save_file({"conv.weight": torch.zeros(1)}, tmp_path / "raft-things.safetensors")
    with pytest.raises(WeightsError, match=r"convert raft-things\.pth"):
        load_flow(tmp_path)
    with pytest.raises(WeightsError, match=r"raft-things\.safetensors of RAFT"):
        load_flow(tmp_path / "nowhere")
