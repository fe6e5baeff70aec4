"""Which sizes of pictures a VAE and a patch divide."""

from __future__ import annotations

from videogen.errors import InvalidRequestError


def check_sides(height: int, width: int, space_factor: int, patch: tuple[int, int]) -> None:
    """Raise unless a VAE and a patch fit into the sides of a picture.

    Raises:
        InvalidRequestError: names the field, why, and the nearest legal values.
    """
    for name, size, cells in (("height", height, patch[0]), ("width", width, patch[1])):
        multiple = space_factor * cells
        if size % multiple or size < multiple:
            below = max(multiple, size - size % multiple)
            raise InvalidRequestError(
                f"{name}: got {size}, expected a multiple of {multiple} ({below}, "
                f"{below + multiple}), because the VAE compresses space by {space_factor} and the "
                f"DiT takes patches of {cells}."
            )
