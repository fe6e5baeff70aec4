"""Clips longer than a model's window: chunk after chunk, from a state that can be saved.

    request --plan_clip--> ClipPlan --METHODS[name]--> Chunk, Chunk, …   (each with a StreamState)

A method is one function behind one protocol (`methods.py`); all of them sample stretches of latents
through a `LatentSampler`.
"""
