"""Models: the spacetime DiT, the causal video VAE, text encoders and their weights."""
