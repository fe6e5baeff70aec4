"""Pipelines of diffusers, whichever they are, behind the interface of our own models.

`library` is the one module that imports diffusers, which is the extra
`diffusers`.
"""
