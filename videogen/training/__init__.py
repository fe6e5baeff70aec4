"""Training: plain torch loops for the VAE and the DiT."""
