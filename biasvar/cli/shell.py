"""How the command line ends, whatever happens: one line, an exit code, and no complaint about closed streams."""

import gc
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO

import click

from biasvar.errors import BiasvarError, RunError


class Group(click.Group):
    """Commands that answer bad input with one line and exit code 2, and a stop with exit code 3."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the command line; what cannot be read ends in one line."""
        _open_streams()
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            tell(_usage(error))
            raise click.exceptions.Exit(2) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and turn whatever it raises into one line and an exit code."""
        try:
            with _few_collections():
                return super().invoke(ctx)
        except BiasvarError as error:
            message, code = str(error), 3 if isinstance(error, RunError) else 2
        except click.UsageError as error:
            message, code = _usage(error), 2
        except OSError as error:
            message, code = f"{error}; {ON}", 3
        except MemoryError as error:
            message, code = f"out of memory: {error or 'nothing could be allocated'}; {ON}", 3
        except BaseException as error:
            if _is_interrupt(error):
                _end_at_once("stopped; it was only looking" if ctx.invoked_subcommand != "run" else f"stopped; {ON}")
            if not isinstance(error, Exception) or isinstance(error, click.exceptions.Exit):
                raise
            message, code = _bug(error), 70
        tell(message)
        return ctx.exit(code)


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let Python look for cycles of dead objects a hundredth as often as it does.

    Imports and figures make many objects that stay, among which that takes up to a quarter of a command's time.
    """
    usual = gc.get_threshold()
    gc.set_threshold(100 * usual[0], *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


ON = "what is done is kept, and the same command goes on from there"


def tell(message: str) -> None:
    """Print a line about what went wrong."""
    click.echo(f"biasvar: {' '.join(message.split())}", err=True)


def _usage(error: click.UsageError) -> str:
    return f"{error.format_message()} See: biasvar --help"


def _bug(error: Exception) -> str:
    """Say that something happened that was not foreseen; with its traceback on request."""
    if os.environ.get("BIASVAR_TRACEBACK"):
        traceback.print_exception(error)
        return "this is a bug in biasvar, please report it with the lines above"
    return f"this is a bug in biasvar: {type(error).__name__}: {error}; for its traceback set BIASVAR_TRACEBACK=1"


def _is_interrupt(error: BaseException | None) -> bool:
    """Tell whether an error is, or came of, Ctrl-C: compiled code turns that into a SystemError."""
    return error is not None and (
        isinstance(error, KeyboardInterrupt) or _is_interrupt(error.__cause__) or _is_interrupt(error.__context__)
    )


def _end_at_once(message: str) -> NoReturn:
    click.echo(f"\nbiasvar: {message}", err=True)
    # A worker thread may be in the middle of a long task: the store does not need it, so do not wait for it.
    os._exit(3)


def stop(*_: object) -> None:
    """Make SIGTERM unwind the stack as Ctrl-C does."""
    raise KeyboardInterrupt


class _Stream:
    """A standard stream that is dropped, without a word, once no one reads it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.unread = stream, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._dropping():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._dropping():
            self._stream.flush()

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            self.unread = True
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # for what is left in buffers, too
            os.close(nowhere)


def _open_streams() -> None:
    """Have all three standard streams: a daemon may have closed them, and no one may read them to the end."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # opened again, so that no store's file gets its number
            stream = open(os.devnull, mode)  # noqa: SIM115
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)
        elif mode == "w" and stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _Stream(stream))
