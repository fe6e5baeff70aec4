"""Diffusion: noise schedules, objectives, solvers and guidance as pure functions."""
