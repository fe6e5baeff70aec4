"""How far a clip is, as its rank tells: in steps if it is made in one piece, else in frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from videogen_cluster.workload import Heartbeat

if TYPE_CHECKING:
    from videogen.extension.plan import ClipPlan
    from videogen.extension.state import Chunk, StreamState
    from videogen.models.protocol import VAESizes


class ClipProgress:
    """Told what is done, it says so in heartbeats.

    Args:
        state: what a clip goes on from.
    """

    def __init__(
        self,
        heartbeat: Heartbeat,
        num_frames: int,
        plan: ClipPlan,
        vae: VAESizes,
        state: StreamState | None = None,
    ) -> None:
        self._heartbeat = heartbeat
        self._num_frames = num_frames
        self._plan = plan
        self._vae = vae
        self._num_chunks = plan.num_chunks()
        self._chunk = 0 if state is None else state.num_chunks
        self._latent = 0 if state is None else state.next_latent
        self._decoded = 0

    @property
    def _first_frame(self) -> int:
        return self._vae.frames(self._latent)

    def denoised(self, done: int, steps: int) -> None:
        """So many denoising steps of the whole clip are done."""
        if self._num_chunks == 1:
            self._heartbeat("denoise", done, steps)
            return
        share = done * self._num_chunks / steps - self._chunk
        last = self._vae.frames(self._latent + self._plan.size(self._latent))
        made = self._first_frame + int(min(max(share, 0), 1) * (last - self._first_frame))
        self._heartbeat("denoise", min(made, self._num_frames), self._num_frames)

    def decoded(self, num_frames: int) -> None:
        """So many more frames are decoded."""
        self._decoded += num_frames
        self._heartbeat("decode", self._first_frame + self._decoded, self._num_frames)

    def encoded(self, num_frames: int) -> None:
        """So many frames of this chunk are encoded."""
        self._heartbeat("encode", self._first_frame + num_frames, self._num_frames)

    def storing(self) -> None:
        """The frames of this chunk, all of which are decoded, are on their way to the store."""
        self._heartbeat("store", self._first_frame + self._decoded, self._num_frames)

    def ended(self, chunk: Chunk) -> None:
        """The next chunk follows."""
        self._chunk = chunk.state.num_chunks
        self._latent = chunk.state.next_latent
        self._decoded = 0
