"""Latte (2401.03048): factorized video DiT over the latents of an image VAE.

Modules carry the names of the published diffusers layout, so a state dict needs no translation.
"""
