"""What ranks are asked to do; imported by their processes."""

from __future__ import annotations

import numpy as np

from tests.distributed.cases import Case, make_denoiser, make_dit, make_latents, make_sigma
from tests.distributed.pool import Rank
from videogen.diffusion.guidance import one_by_one
from videogen.parallel.apply import parallelize
from videogen.parallel.halves import SplitHalves


def denoise(rank: Rank, case: Case) -> np.ndarray:
    """One guided evaluation on a mesh."""
    mesh = rank.mesh(case.cfg_degree, case.seq_degree)
    dit = parallelize(make_dit(case), mesh, case.ulysses_degree)
    halves = SplitHalves(mesh.cfg) if mesh.cfg.size > 1 else one_by_one
    return make_denoiser(case, dit, halves)(make_latents(case), make_sigma(case)).numpy()


def traffic(rank: Rank, case: Case) -> dict[str, dict[str, float]]:
    """What one guided evaluation sends."""
    mesh = rank.mesh(case.cfg_degree, case.seq_degree)
    denoise(rank, case)
    return mesh.counters.snapshot()
