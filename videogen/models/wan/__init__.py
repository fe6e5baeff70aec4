"""Wan 2.1 (2503.20314): joint-attention video DiT and causal VAE, from published weights.

Modules carry the names of the published diffusers layout, so a state dict needs no translation.
"""
