"""Every error this project raises on purpose; all inherit `VideogenError`."""

from __future__ import annotations


class VideogenError(Exception):
    """Root of all deliberate errors. Messages read: *what: got X, expected Y. Fix: Z.*"""


class InvalidRequestError(VideogenError, ValueError):
    """A clip was asked for that cannot be made as asked; retrying does not help."""


class ConfigError(VideogenError, ValueError):
    """A configuration file, override or preset is wrong; the message names the dotted path."""


class WeightsError(VideogenError):
    """A model folder is missing, incomplete, altered or does not fit its description."""


class MediaError(VideogenError):
    """A video file cannot be read, or is not what it should be."""


class EncodeError(MediaError):
    """Frames could not be encoded."""


class StorageError(VideogenError):
    """Reading from or writing to storage failed."""


class OutputConflictError(StorageError):
    """An output of that name exists and belongs to another request."""


class MissingDependencyError(VideogenError, ImportError):
    """An optional package is needed and not installed; the message names the extra."""


class RejectedError(VideogenError):
    """A clip was made and is not good enough; making it again gives the same."""


class NonFiniteError(VideogenError):
    """Latents or frames hold NaN or infinity."""
