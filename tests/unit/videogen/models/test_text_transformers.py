"""Tiny random CLIP, T5 and UMT5 folders must encode as transformers itself does, or say why not."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from videogen.errors import ConfigError, WeightsError
from videogen.models.config import DiTConfig, TextConfig, VAEConfig
from videogen.models.dit import SpacetimeDiT
from videogen.models.spec import LatentStatistics, ModelSpec
from videogen.models.text_transformers import TransformersText, load_text_encoder
from videogen.models.vae import VideoVAE
from videogen.models.weights import load_model, save_model

KINDS = ("clip", "t5", "umt5")
PROMPTS = ["a red circle", "", "a blue square moving right", "circle"]
WORDS = ["a", "red", "blue", "circle", "square", "moving", "right"]
MAX_TOKENS = 12


def load(kind: Any, folder: str | Path, max_tokens: int, **options: Any) -> TransformersText:
    return load_text_encoder(
        TextConfig(kind=kind, width=16, max_tokens=max_tokens), folder, **options
    )


def write_t5_tokenizer(folder: Path) -> None:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(f"▁{word}", -2.0) for word in WORDS]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    fields = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0}
    (folder / "tokenizer_config.json").write_text(json.dumps(fields))


def write_clip_tokenizer(folder: Path) -> None:
    letters = sorted(set("".join(WORDS)))
    pieces = [*letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    vocabulary["<|startoftext|>"] = len(pieces)
    vocabulary["<|endoftext|>"] = len(pieces) + 1
    transformers.CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)


def small_clip() -> transformers.CLIPConfig:
    start = 2 * len(set("".join(WORDS)))
    text = {
        "vocab_size": start + 2,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
        "bos_token_id": start,
        "eos_token_id": start + 1,
        "pad_token_id": start + 1,
    }
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    vision |= {"num_attention_heads": 2, "image_size": 8, "patch_size": 4}
    return transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)


T5_SIZE: dict[str, Any] = {
    "vocab_size": 16,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 2,
    "num_heads": 2,
}


def write_checkpoint(kind: str, encoder: Path, tokenizer: Path) -> None:
    """A random checkpoint with both of its halves, as they are published."""
    torch.manual_seed(0)
    tokenizer.mkdir(parents=True, exist_ok=True)
    if kind == "clip":
        transformers.CLIPModel(small_clip()).save_pretrained(encoder)
        write_clip_tokenizer(tokenizer)
    elif kind == "t5":
        config = transformers.T5Config(**T5_SIZE)
        transformers.T5ForConditionalGeneration(config).save_pretrained(encoder)
        write_t5_tokenizer(tokenizer)
    else:
        config = transformers.UMT5Config(**T5_SIZE)
        transformers.UMT5EncoderModel(config).save_pretrained(encoder)
        write_t5_tokenizer(tokenizer)


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("encoders")
    for kind in KINDS:
        write_checkpoint(kind, root / kind, root / kind)
    return {kind: root / kind for kind in KINDS}


@pytest.fixture
def folder(request, published, tmp_path) -> Path:
    """A private copy of the checkpoint of the kind given as parameter, to damage at will."""
    return Path(shutil.copytree(published[request.param], tmp_path / request.param))


CLASSES = {
    "clip": transformers.CLIPTextModel,
    "t5": transformers.T5EncoderModel,
    "umt5": transformers.UMT5EncoderModel,
}


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_equal_transformers_called_directly(kind, published):
    encoder = load(kind, published[kind], MAX_TOKENS)
    got = encoder.encode(["a red circle"])
    model = CLASSES[kind].from_pretrained(published[kind]).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(published[kind])
    inputs = tokenizer("a red circle", return_tensors="pt")
    with torch.no_grad():
        expected = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    length = inputs["input_ids"].shape[1]
    assert length == {"clip": 12, "t5": 4, "umt5": 4}[kind]
    torch.testing.assert_close(got.tokens[:, :length], expected.last_hidden_state)
    assert got.mask.tolist() == [[i < length for i in range(MAX_TOKENS)]]
    mean = expected.last_hidden_state.mean(1)
    pooled = expected.pooler_output if kind == "clip" else mean
    torch.testing.assert_close(got.pooled, pooled)
    assert got.pooled.shape == (1, 16)


@pytest.mark.parametrize("kind", KINDS)
def test_padded_batches_of_transformers_agree_on_every_unmasked_token(kind, published):
    encoder = load(kind, published[kind], 32)
    got = encoder.encode(PROMPTS)
    tokenizer = encoder.tokenizer
    inputs = tokenizer(PROMPTS, padding="max_length", max_length=32, return_tensors="pt")
    model = CLASSES[kind].from_pretrained(published[kind]).eval()
    with torch.no_grad():
        expected = model(**inputs).last_hidden_state
    assert torch.equal(got.mask, inputs["attention_mask"].bool())
    torch.testing.assert_close(got.tokens[got.mask], expected[got.mask], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_neither_padding_nor_neighbours_change_a_prompt(kind, published):
    short = load(kind, published[kind], 30).encode(PROMPTS)
    long = load(kind, published[kind], 32).encode([PROMPTS[0]])
    assert torch.equal(short.tokens[0], long.tokens[0, :30])
    assert torch.equal(short.pooled[0], long.pooled[0])
    assert torch.equal(short.tokens[~short.mask], torch.zeros_like(short.tokens[~short.mask]))
    assert not long.mask[0, 30:].any()


@pytest.mark.parametrize("kind", KINDS)
def test_truncation_is_reported_and_keeps_the_end_token(kind, published):
    encoder = load(kind, published[kind], 4)
    got = encoder.encode(["a", "a red circle moving right"])
    assert list(got.truncated) == [False, True]
    assert got.tokens.shape == (2, 4, 16) and got.mask[1].all()
    end = encoder.tokenizer.eos_token_id
    assert [row[-1].item() for row in encoder._tokenize(["a red circle moving"])[0]] == [end]


def test_the_prompt_reaches_the_embedding(published):
    encoder = load("t5", published["t5"], MAX_TOKENS)
    got = encoder.encode(["a red circle", "a blue circle"])
    assert not torch.allclose(got.tokens[0], got.tokens[1], atol=1e-2)


def test_the_encoder_is_frozen_and_stays_in_evaluation_mode(published):
    encoder = load("t5", published["t5"], MAX_TOKENS).train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert (encoder.width, encoder.max_tokens) == (16, MAX_TOKENS)


def test_dtype_is_the_one_asked_for(published):
    encoder = load("t5", published["t5"], MAX_TOKENS, dtype=torch.bfloat16)
    assert encoder.encode(["a"]).tokens.dtype == torch.bfloat16


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_fetched(kind, published, monkeypatch):
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a network connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    load(kind, published[kind], MAX_TOKENS)


def test_loading_writes_nothing_to_the_terminal(published, capfd):
    load("clip", published["clip"], MAX_TOKENS)
    assert capfd.readouterr() == ("", "")


def test_the_layout_of_diffusers_is_understood(published, tmp_path):
    write_checkpoint("umt5", tmp_path / "text_encoder", tmp_path / "tokenizer")
    expected = load("umt5", published["umt5"], MAX_TOKENS).encode(PROMPTS)
    for given in (tmp_path, tmp_path / "text_encoder"):
        got = load("umt5", given, MAX_TOKENS).encode(PROMPTS)
        assert torch.equal(got.tokens, expected.tokens)


@pytest.mark.parametrize("folder", KINDS, indirect=True)
def test_pickles_are_refused_with_the_reason(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin.*pickle can run code.*Fix"):
        load(folder.name, folder, MAX_TOKENS)


@pytest.mark.parametrize("folder", ["t5"], indirect=True)
def test_sharded_weights_load_and_a_missing_shard_is_named(folder, published):
    model = transformers.T5EncoderModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="4KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    got = load("t5", folder, MAX_TOKENS).encode(PROMPTS).tokens
    expected = load("t5", published["t5"], MAX_TOKENS).encode(PROMPTS).tokens
    torch.testing.assert_close(got, expected)
    shards[0].unlink()
    with pytest.raises(WeightsError, match=f"{shards[0].name}: missing"):
        load("t5", folder, MAX_TOKENS)


@pytest.mark.parametrize("folder", ["t5"], indirect=True)
def test_missing_and_unexpected_tensors_are_named(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    lost = "encoder.block.1.layer.1.DenseReluDense.wo.weight"
    tensors["adapter.weight"] = tensors.pop(lost)
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(WeightsError) as caught:
        load("t5", folder, MAX_TOKENS)
    assert f"1 missing ({lost}); 1 unexpected (adapter.weight)" in str(caught.value)


@pytest.mark.parametrize("folder", ["t5"], indirect=True)
def test_tensors_of_another_size_are_an_error(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["encoder.final_layer_norm.weight"] = torch.ones(8)
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(
        WeightsError, match=r"1 misshapen \(.*final_layer_norm.weight \(8,\), not \(16"
    ):
        load("t5", folder, MAX_TOKENS)


@pytest.mark.parametrize("folder", ["t5"], indirect=True)
def test_truncated_weights_are_an_error(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="T5EncoderModel cannot be read"):
        load("t5", folder, MAX_TOKENS)


@pytest.mark.parametrize("folder", ["umt5"], indirect=True)
def test_a_broken_tokenizer_is_an_error(folder):
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(WeightsError, match="T5Tokenizer cannot be read"):
        load("umt5", folder, MAX_TOKENS)


@pytest.mark.parametrize("folder", ["t5"], indirect=True)
def test_a_tokenizer_larger_than_the_encoder_is_refused(folder):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] += [[f"▁word{i}", -3.0] for i in range(20)]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(WeightsError, match="got a tokenizer of 30 tokens, expected at most the 16"):
        load("t5", folder, MAX_TOKENS)


@pytest.mark.parametrize("kind,max_tokens", [("clip", 33), ("clip", 2), ("t5", 1)])
def test_max_tokens_out_of_range_is_refused(kind, max_tokens, published):
    with pytest.raises(ConfigError, match=rf"text\.max_tokens: got {max_tokens}, expected"):
        load(kind, published[kind], max_tokens)


def test_an_unknown_kind_lists_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"text\.kind: got 't6', expected one of clip, t5, umt5"):
        load("t6", tmp_path, MAX_TOKENS)


def test_another_width_than_the_encoders_is_refused(published):
    with pytest.raises(ConfigError, match=r"text\.width: got 4096, expected 16"):
        load_text_encoder(TextConfig(kind="t5", width=4096), published["t5"])


def test_a_model_folder_finds_its_pretrained_encoder(published, tmp_path):
    spec = ModelSpec(
        name="tiny",
        dit=DiTConfig(in_channels=4, width=32, depth=1, num_heads=2, text_width=16),
        vae=VAEConfig(latent_channels=4, widths=(8, 8, 8)),
        text=TextConfig(kind="t5", width=16, max_tokens=MAX_TOKENS, path="text_encoder"),
        latents=LatentStatistics(mean=(0.0,) * 4, std=(1.0,) * 4),
    )
    save_model(tmp_path, spec, SpacetimeDiT(spec.dit), VideoVAE(spec.vae), text=None)
    shutil.copytree(published["t5"], tmp_path / "text_encoder")
    model = load_model(tmp_path)
    text = model.text.encode(["a red circle"])
    alone = load("t5", published["t5"], MAX_TOKENS).encode(["a red circle"])
    assert torch.equal(text.tokens, alone.tokens)
    prediction = model.dit(torch.randn(1, 4, 2, 4, 4), torch.zeros(1), text)
    assert prediction.shape == (1, 4, 2, 4, 4)
