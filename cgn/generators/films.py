"""Frames as moving pictures: GIF, which goes round for ever, and MP4."""

from pathlib import Path

import av

from cgn.contracts import Pixels
from cgn.generators.captioned import to_image

# Nearly without loss. The bytes depend on the number of threads; and x264's assembly reads memory that it has not written where
# pictures are small, so that one film has other bytes every few times. Without it they do not depend on the CPU either.
_CODEC_OPTIONS = {"crf": "18", "threads": "1", "x264-params": "asm=0"}
_FILE_OPTIONS = {
    "fflags": "+bitexact",
    "movflags": "+faststart",
}  # no name of the writing program; playable while it loads


def save_gif(path: Path, frames: Pixels, *, frames_per_second: int) -> None:
    """Write a GIF of at most 256 colours a frame. It times frames in hundredths of a second, rounded down."""
    images = [to_image(frame) for frame in frames]
    hundredths = 100 // frames_per_second
    images[0].save(path, format="GIF", save_all=True, append_images=images[1:], duration=10 * hundredths, loop=0)


def save_mp4(path: Path, frames: Pixels, *, frames_per_second: int) -> None:
    """Write H.264 in the form that browsers play; height and width must be even."""
    height, width = frames.shape[2:]
    with av.open(str(path), "w", format="mp4", options=_FILE_OPTIONS) as file:
        stream = file.add_stream("libx264", rate=frames_per_second, options=_CODEC_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame.permute(1, 2, 0).contiguous().numpy(), format="rgb24")
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))
