"""The top-level boxes of an MP4 (ISO 14496-12, 4.2), and the seal our writer puts after the last.

Decoders notice damage by luck: most bytes of an H.264 slice can be altered into other legal bytes.
So the writer appends a `uuid` box, which players skip, with a BLAKE2b hash of the encoded pictures.
Tools that rewrite a file drop the box; tools that edit its tags in place leave the hash true.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SEAL = uuid.UUID("02588650-0bca-4409-9d2c-a8a3f97ec2a1").bytes
_HASH_BYTES = 32
_BLOCK_BYTES = 1 << 20
_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"}
_LATER_BOXES = {b"uuid", b"meta", b"udta", b"moof", b"mfra", b"sidx", b"ssix", b"styp", b"prft"}


@dataclass(frozen=True)
class Box:
    """A box and where it lies in the file: header from `start`, content from `content` to `end`."""

    kind: bytes
    start: int
    content: int
    end: int


def top_level_boxes(path: Path) -> list[Box]:
    """The boxes of an MP4 or MOV file in order; empty for other formats.

    The last one may end behind the end of a file that was cut short.
    """
    boxes = list(_walk(path))
    return boxes if boxes and boxes[0].kind in _FIRST_BOXES else []


def missing_bytes(path: Path) -> int:
    """How many bytes an MP4 or MOV lacks at its end; 0 for other formats.

    libav notices a cut only where a decoder trips over it; a cut between frames looks whole to it.
    What follows the boxes without being one, such as an ID3 tag, is nobody's missing end.
    """
    boxes = top_level_boxes(path)
    if not boxes:
        return 0
    is_box = boxes[-1].kind in _FIRST_BOXES | _LATER_BOXES or len(boxes[-1].kind) < len(b"mdat")
    return max(boxes[-1].end - path.stat().st_size, 0) if is_box else 0


def append_seal(path: Path) -> None:
    """Append the hash of the file's media data; nothing else of the file changes."""
    box = b"uuid" + _SEAL + _hash_of_media(path)
    with path.open("ab") as file:
        file.write((len(box) + 4).to_bytes(4, "big") + box)


def seal_holds(path: Path) -> bool | None:
    """Whether the media data is what the writer sealed; None for a file without a seal."""
    for box in top_level_boxes(path):
        if box.kind == b"uuid":
            with path.open("rb") as file:
                file.seek(box.content)
                content = file.read(len(_SEAL) + _HASH_BYTES)
            if content.startswith(_SEAL):
                return content == _SEAL + _hash_of_media(path)
    return None


def _walk(path: Path) -> Iterator[Box]:
    total = path.stat().st_size
    position = 0
    with path.open("rb") as file:
        while position < total:
            file.seek(position)
            header = file.read(16)
            size, content = int.from_bytes(header[:4], "big"), position + 8
            if size == 1:
                size, content = int.from_bytes(header[8:], "big"), position + 16
            elif size == 0:  # to the end of the file
                size = total - position
            # A header that is cut off still needs its eight bytes; 2 to 7 is no size at all.
            size = max(size, 8)
            yield Box(header[4:8], position, content, position + size)
            position += size


def _hash_of_media(path: Path) -> bytes:
    digest = hashlib.blake2b(digest_size=_HASH_BYTES)
    with path.open("rb") as file:
        for box in top_level_boxes(path):
            if box.kind == b"mdat":
                file.seek(box.content)
                remaining = box.end - box.content
                while remaining > 0 and (block := file.read(min(remaining, _BLOCK_BYTES))):
                    digest.update(block)
                    remaining -= len(block)
    return digest.digest()
