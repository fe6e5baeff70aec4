"""Diffusion: noise schedules, objectives, solvers and guidance as pure functions.

Everything meets in one contract, `denoiser(x, sigma) -> denoised` (the estimate of the clean data),
and one description of the forward process, `NoisePath`:

    model --as_denoiser--> denoiser --with_guidance--> denoiser --SOLVERS[name]--> x
"""
