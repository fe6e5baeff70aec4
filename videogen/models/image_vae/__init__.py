"""The VAE of latent diffusion (2112.10752), picture by picture, and its decoder across frames."""
