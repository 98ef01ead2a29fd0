"""How a command ends: its exit code, and one line on stderr where it could not do what was asked."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from procmodel.errors import InputError, ProcmodelError
from procmodel.training.launch import STOPPED

_OF_THE_DISK = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.ENAMETOOLONG,
}  # fmt: skip
"""What a folder or a file refuses; other errors of the system are ours to mend."""


def run(app: Callable[..., Any]) -> NoReturn:
    """An error is one message; a traceback is for our own bugs."""
    # The models are small: more threads only wait for each other. Large ones are trained with it set, or on a GPU.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    code: int | None = None
    try:
        code = app(standalone_mode=False)  # that of a typer.Exit; Typer makes 130 of Ctrl-C
    except ProcmodelError as error:
        print(f"procmodel: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        code = STOPPED
    except OSError as error:
        if error.errno not in _OF_THE_DISK or error.filename is None:
            raise
        print(
            f"procmodel: {os.fsdecode(error.filename)}: {error.strerror}. Mend the right to it, make room, or name "
            "another place.",
            file=sys.stderr,
        )
        sys.exit(InputError.exit_code)
    except Exception as error:
        _usage(error)
    if code == STOPPED:
        print(
            "procmodel: stopped; what was finished is kept, and the same command goes on from there.", file=sys.stderr
        )
    sys.exit(code or 0)


def _usage(error: Exception) -> None:
    """Click's own errors about the command line, as one line; anything else is ours to mend."""
    show: Callable[[], None] | None = getattr(error, "show", None)
    if show is None:
        raise error
    show()
    sys.exit(int(getattr(error, "exit_code", 2)))
