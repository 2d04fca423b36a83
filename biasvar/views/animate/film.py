"""A figure of which only little moves, frame by frame, and its files.

What stands still is drawn once; a frame restores that picture and draws what moves, which takes a tenth of the time.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import BiasvarError, MissingDependencyError, writing

if TYPE_CHECKING:
    import PIL.Image
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

Frame = NDArray[np.uint8]

FPS = 12  # frames a second
WIDTH = 1120  # pixels
SLOW = 40  # steps that are shown one by one
COLORS = 128  # of a gif, which has one palette


class Scene(ABC):
    """What a film shows: a figure that stands still, and what is added to it at each moment."""

    figure: "Figure"

    def begin(self) -> None:  # noqa: B027  # most have nothing to take back
        """Go back to the first moment."""

    def leave(self, moment: int) -> Iterator["Artist"]:
        """Yield what is drawn at a moment and stays in the picture; an artist may come again with other data."""
        yield from ()

    @abstractmethod
    def show(self, moment: int) -> Iterator["Artist"]:
        """Yield what is drawn at a moment, on top, for this frame alone."""


class Film:
    """A scene at some moments, for so many frames each.

    Parameters
    ----------
    scene : Scene
        What is shown.
    moments : sequence of (int, int)
        Ascending moments, and for how many frames each is seen.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
        What stands still.
    """

    def __init__(self, scene: Scene, moments: Sequence[tuple[int, int]]) -> None:
        self.scene, self.moments = scene, tuple(moments)

    @property
    def figure(self) -> "Figure":
        """What stands still."""
        return self.scene.figure

    @property
    def seconds(self) -> float:
        """How long it takes to see."""
        return sum(held for _, held in self.moments) / FPS

    def frames(self, width: int = WIDTH, moments: Iterable[int] | None = None) -> Iterator[Frame]:
        """Draw it, a frame for each moment: arrays (height, width, 3) of 0 to 255.

        Parameters
        ----------
        width : int
            Pixels.
        moments : iterable of int, optional
            Only these, ascending.
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        self.figure.set_dpi(width / self.figure.get_figwidth())
        canvas: Any = FigureCanvasAgg(self.figure)
        canvas.draw()
        self.scene.begin()
        still = canvas.copy_from_bbox(self.figure.bbox)
        for moment in (moment for moment, _ in self.moments) if moments is None else moments:
            canvas.restore_region(still)
            _draw(self.scene.leave(moment), canvas)
            still = canvas.copy_from_bbox(self.figure.bbox)
            _draw(self.scene.show(moment), canvas)
            yield np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def save(self, path: str | PathLike[str], *, width: int = WIDTH) -> Path:
        """Write it to a file, in a folder that is made where it is missing, and return the path.

        Parameters
        ----------
        path : str or path-like
            Its ending says what is written: ``.mp4`` (H.264, the smallest), ``.webp``, or ``.gif``, with 128 colours.
        width : int
            Pixels.

        Raises
        ------
        BiasvarError
            If the path ends otherwise, or cannot be written.
        MissingDependencyError
            If imageio-ffmpeg, which writes mp4, is not installed.
        """
        write = writer_of(path)
        path = Path(path)
        with writing(path):
            write(self, path, width)
        return path


def _draw(artists: Iterator["Artist"], canvas: Any) -> None:
    for artist in artists:
        artist.draw(canvas.get_renderer())


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure, inches wide and high, or say which library is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "figures") from error
    return Figure(figsize=(width, height), facecolor="white")


def moments_of(last: int, *, begin: int = 6, rest: int = 30, fast: int = 50) -> list[tuple[int, int]]:
    """Return moments up to a last one: a step a frame at first, then ever more, at rest at both ends.

    Examples
    --------
    >>> moments_of(3)
    [(0, 6), (1, 1), (2, 1), (3, 30)]
    >>> [moment for moment, _ in moments_of(400, fast=3)][39:]
    [39, 40, 126, 400]
    """
    later = np.round(np.geomspace(SLOW, max(last, SLOW), fast)).astype(int).tolist()
    steps = sorted(step for step in {*range(SLOW + 1), *later, last} if step <= last)
    held = {0: begin, last: rest}
    return [(step, held.get(step, 1)) for step in steps]


def writer_of(path: str | PathLike[str]) -> Callable[[Film, Path, int], None]:
    """Return what writes films to such a file.

    Raises
    ------
    BiasvarError
        If nothing does.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITERS:
        raise BiasvarError(f"{path}: expected a name that ends in {', '.join(_WRITERS)}, got {suffix or 'no ending'!r}")
    return _WRITERS[suffix]


def _write_mp4(film: Film, path: Path, width: int) -> None:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise MissingDependencyError("imageio-ffmpeg", "figures") from error
    writer = None
    for frame, (_, held) in zip(film.frames(width), film.moments, strict=True):
        # Colours are stored for four pixels at a time.
        even = np.ascontiguousarray(frame[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2])
        if writer is None:
            writer = imageio_ffmpeg.write_frames(
                str(path),
                even.shape[1::-1],
                fps=FPS,
                codec="libx264",
                macro_block_size=1,
                output_params=["-crf", "23", "-movflags", "+faststart"],
            )
            writer.send(None)
        for _ in range(held):
            writer.send(even)
    if writer is not None:
        writer.close()


def _write_gif(film: Film, path: Path, width: int) -> None:
    from PIL import Image

    moments = [moment for moment, _ in film.moments]
    chosen = [moments[0], moments[len(moments) // 3], moments[-1]]
    whole = Image.fromarray(np.concatenate(list(film.frames(width, chosen))))
    # Thin lines are few pixels, and keep their colours by this method, not by that of Pillow's choice.
    palette = whole.quantize(COLORS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    frames = (Image.fromarray(frame) for frame in film.frames(width))
    _write(film, path, (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames), optimize=False)


def _write_webp(film: Film, path: Path, width: int) -> None:
    from PIL import Image

    _write(film, path, (Image.fromarray(frame) for frame in film.frames(width)), quality=80, method=2)


def _write(film: Film, path: Path, images: Iterator["PIL.Image.Image"], **more: Any) -> None:
    milliseconds = [round(1000 * held / FPS) for _, held in film.moments]
    first = next(images)
    first.save(path, save_all=True, append_images=images, duration=milliseconds, loop=0, **more)


_WRITERS: dict[str, Callable[[Film, Path, int], None]] = {
    ".mp4": _write_mp4,
    ".gif": _write_gif,
    ".webp": _write_webp,
}
