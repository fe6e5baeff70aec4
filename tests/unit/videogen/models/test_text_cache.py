from __future__ import annotations

import pytest
import torch

from videogen.errors import WeightsError
from videogen.models.text import TextEmbedding, encode_pair
from videogen.models.text_cache import CachedText
from videogen.models.visits import VisitingText, Visitor

CPU = torch.device("cpu")


class Fake(torch.nn.Module):
    width, max_tokens = 4, 6

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[str]] = []
        self.weight = torch.nn.Parameter(torch.ones(1))

    def encode(self, prompts):
        self.calls.append(list(prompts))
        tokens = torch.zeros(len(prompts), 6, 4)
        for row, prompt in zip(tokens, prompts, strict=True):
            row[: len(prompt.split())] = len(prompt)
        mask = (tokens != 0).any(-1)
        return TextEmbedding(tokens, mask, tokens[:, 0], tuple("!" in p for p in prompts))


class Pair(Fake):
    def encode_pair(self, prompt, negative):
        first, second = self.encode([prompt]), self.encode([negative])
        return first, TextEmbedding(second.tokens + len(prompt), second.mask, second.pooled)


def same(one: TextEmbedding, other: TextEmbedding) -> None:
    for name in ("tokens", "mask", "pooled"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert one.truncated == other.truncated


def test_a_prompt_is_encoded_once():
    fake = Fake()
    cached = CachedText(fake, CPU)
    first = cached.encode(["a b"])
    assert cached.encode(["a b"]) is first
    same(cached.encode(["c!"]), Fake().encode(["c!"]))
    assert fake.calls == [["a b"], ["c!"]]
    assert (cached.width, cached.max_tokens) == (4, 6)


def test_memory_is_bounded_and_drops_what_was_used_longest_ago():
    fake = Fake()
    cached = CachedText(fake, CPU, capacity=2)
    for prompt in ("a", "b", "a", "c", "a", "b"):
        cached.encode([prompt])
    assert fake.calls == [["a"], ["b"], ["c"], ["b"]]


def test_a_folder_keeps_embeddings_for_another_run(tmp_path):
    first = CachedText(Fake(), CPU, folder=tmp_path, digest=lambda: "one").encode(["a b !"])
    fake = Fake()
    again = CachedText(fake, CPU, folder=tmp_path, digest=lambda: "one").encode(["a b !"])
    same(again, first)
    assert not fake.calls
    CachedText(fake, CPU, folder=tmp_path, digest=lambda: "other").encode(["a b !"])
    assert fake.calls == [["a b !"]]
    assert not list(tmp_path.rglob("*.partial"))


def test_a_negative_prompt_that_depends_on_the_prompt(tmp_path):
    fake = Pair()
    cached = CachedText(fake, CPU, folder=tmp_path, digest=str)
    for prompt in ("a", "a b", "a"):
        for got, expected in zip(
            encode_pair(cached, prompt, "no"), Pair().encode_pair(prompt, "no"), strict=True
        ):
            same(got, expected)
    assert len(fake.calls) == 4
    other = Pair()
    same(
        CachedText(other, CPU, folder=tmp_path, digest=str).encode_pair("a", "no")[1],
        Pair().encode_pair("a", "no")[1],
    )
    assert not other.calls


def test_a_damaged_file_is_named(tmp_path):
    CachedText(Fake(), CPU, folder=tmp_path, digest=str).encode(["a"])
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(b"no")
    with pytest.raises(WeightsError, match=path.name):
        CachedText(Fake(), CPU, folder=tmp_path, digest=str).encode(["a"])


def test_visits_within_visits_move_once():
    moves: list[str] = []

    class Moved(Fake):
        def to(self, device):  # pyright: ignore[reportIncompatibleMethodOverride]
            moves.append(str(device))
            return self

    module = Moved()
    visitor = Visitor(module, torch.device("meta"))
    with visitor.visit(), visitor.visit():
        assert moves == ["cpu", "meta"]
    assert moves == ["cpu", "meta", "cpu"]
    with pytest.raises(RuntimeError), visitor.visit():
        raise RuntimeError
    assert moves[-1] == "cpu"
    same(VisitingText(Moved(), CPU).encode(["a"]), Fake().encode(["a"]))
