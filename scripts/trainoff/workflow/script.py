"""The interface between a rule and its script."""

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trainoff.errors import CLEAR, UserError, one_line, printable
from trainoff.machine import disks
from trainoff.privacy import scrub_file


class Terminal(io.TextIOWrapper):
    """A stream to a terminal that passes no unprintable characters except line ends and a leading CLEAR."""

    def write(self, text: str) -> int:
        clear = CLEAR if text.startswith(CLEAR) else ""
        return super().write(clear + "\n".join(map(printable, text.removeprefix(clear).split("\n"))))


@contextlib.contextmanager
def logged(log: str | Path, before: Callable[[], Any] = lambda: None) -> Iterator[Terminal]:
    """Sends everything that the block and its child processes print to the file `log`; yields the terminal's stream.

    Use it around the single call in a script's `if __name__ == "__main__":` block. An exception ends the script with exit
    code 1 and one sentence on the terminal; the traceback of any error except a UserError goes to the log.
    before: called before the log is overwritten.
    """
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    terminal = Terminal(os.fdopen(os.dup(2), "wb"), encoding="utf-8", errors="replace", line_buffering=True)
    begun = False
    try:
        before()
        with open(log, "w", encoding="utf-8") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        begun = True
        yield terminal
    except KeyboardInterrupt:
        print("\nStopped. The next start continues with the unfinished runs.\n", file=terminal)
        sys.exit(130)
    except Exception as error:
        # The log itself may be impossible to write: a full disk must not hide the message about it.
        with contextlib.suppress(OSError):
            if begun and not isinstance(error, UserError):
                traceback.print_exc()
            if begun:
                print(f"\n{_sentence(error, log)}\n", file=sys.stderr, flush=True)
        print(f"\n{_sentence(error, log)}\n", file=terminal)
        sys.exit(1)
    finally:
        for stream in (sys.stdout, sys.stderr):
            _empty(stream)
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        os.close(saved[0])
        os.close(saved[1])
        terminal.close()
        scrub_file(log)


def _empty(stream):
    """Flushes a stream; output that a full disk rejects is dropped, or it would reach the terminal later."""
    try:
        stream.flush()
    except OSError:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)
        stream.flush()


def _sentence(error, log):
    if isinstance(error, UserError):
        return str(error)
    if words := disks.words_of(error):
        return str(disks.DiskFault(words, disks.place_of(error, Path(log).parent)))
    if isinstance(error, OSError):
        where = f": {one_line(error.filename)}" if error.filename else ""
        return (
            f"{error.strerror or error}{where}. Finished runs are kept: fix the problem and start again. Details: {log}"
        )
    return f"{type(error).__name__}: {one_line(error, 1000)}. This is a bug in trainoff; details: {log}"
