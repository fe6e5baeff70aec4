"""What is decided before any rank is asked: where to cut, how to split, what to refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import videogen
from tests.distributed.cases import Case, make_dit, make_latents, make_text
from videogen.errors import ConfigError
from videogen.parallel.apply import parallelize, parallelize_generator, ulysses_degree_for
from videogen.parallel.communicator import Communicator
from videogen.parallel.counters import Counters
from videogen.parallel.layout import SPACE, TIME, ShardedLayout, choose_cut
from videogen.parallel.mesh import Mesh


@pytest.mark.parametrize(
    ("t", "s", "degree", "dim"),
    [
        (5, 16, 4, SPACE),
        (21, 1560, 8, SPACE),
        (64, 4, 8, TIME),
        (6, 4, 2, SPACE),
        (4, 3, 4, TIME),
    ],
)
def test_tokens_are_cut_where_the_largest_share_is_smaller(
    t: int, s: int, degree: int, dim: int
) -> None:
    assert choose_cut(t, s, degree) == dim


@pytest.mark.parametrize(
    ("num_heads", "seq_degree", "ulysses_degree"),
    [(12, 8, 8), (12, 16, 8), (6, 4, 4), (3, 4, 2), (1, 4, 1), (2, 3, 1), (16, 1, 1)],
)
def test_groups_are_as_wide_as_there_are_heads_for(
    num_heads: int, seq_degree: int, ulysses_degree: int
) -> None:
    assert ulysses_degree_for(num_heads, seq_degree) == ulysses_degree


def test_one_rank_leaves_the_model_alone() -> None:
    dit = make_dit(Case())
    layout = dit.layout
    assert parallelize(dit, Mesh()) is dit
    assert dit.layout is layout


def three_ranks() -> Communicator:
    return Communicator("seq", 1, (0, 1, 2), None, Counters(), lambda: None)


def test_a_model_is_sharded_once() -> None:
    dit = make_dit(Case())
    dit.layout = ShardedLayout(three_ranks())
    with pytest.raises(ConfigError, match="sharded already"):
        parallelize(dit, Mesh())


def test_overlap_needs_whole_weights(tiny_model: Path) -> None:
    generator = videogen.load(str(tiny_model), device="cpu")
    with pytest.raises(ConfigError, match="overlap: got True with sharded weights"):
        parallelize_generator(generator, Mesh(), overlap=True, weights="sharded")


def test_only_ranks_of_a_gang_divide_weights(tiny_model: Path) -> None:
    generator = videogen.load(str(tiny_model), device="cpu")
    with pytest.raises(ConfigError, match="got a process outside a gang"):
        parallelize_generator(generator, Mesh(), weights="offloaded")


def test_gradients_are_refused() -> None:
    case = Case()
    dit = make_dit(case).requires_grad_(True)
    dit.layout = ShardedLayout(three_ranks())
    with torch.enable_grad(), pytest.raises(ConfigError, match="records gradients"):
        dit(make_latents(case), torch.tensor([500.0]), make_text(case, 3))
