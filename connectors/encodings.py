"""How a text file is encoded, and its text in UTF-8, block after block."""

from __future__ import annotations

import codecs
import hashlib
from pathlib import Path
from typing import BinaryIO

from procmodel.errors import HistorianError

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BLOCK = 1 << 20


def encoding_of(data: bytes, given: str | None) -> str:
    """What the text is encoded in: as given, as its first bytes tell, else UTF-8 where all of it fits, else cp1252."""
    if given is not None:
        return given.lower()
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return encoding
    if 0 in data[:2]:  # a header begins with plain letters: one of two bytes is 0 in UTF-16
        return "utf-16-be" if data[0] == 0 else "utf-16-le"
    return "utf-8" if _Utf8Check().fits(data) else "cp1252"


def told(file: Path, given: str | None) -> tuple[str, str]:
    """Encoding and SHA-256 of a whole file, read once, block after block.

    Raises:
        HistorianError: it cannot be read.
    """
    digest, check, encoding = hashlib.sha256(), _Utf8Check(), None
    try:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                encoding = encoding or encoding_of(block[:4], given)
                digest.update(block)
                if encoding == "utf-8" and given is None and not check.fits(block):
                    encoding = "cp1252"
    except OSError as error:
        raise HistorianError(f"{file} cannot be read: {error.strerror}.") from error
    return encoding or "utf-8", digest.hexdigest()


class _Utf8Check:
    """Whether blocks that follow each other are UTF-8; the last may end within a character."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def fits(self, block: bytes) -> bool:
        try:
            self._decoder.decode(block)
        except UnicodeDecodeError:
            return False
        return True


def decoded(data: bytes, encoding: str, place: str, *, whole: bool) -> str:
    """The text of these bytes, which may end within a character where they are not the `whole` file.

    Raises:
        HistorianError: they are no text in this encoding.
    """
    try:
        return codecs.getincrementaldecoder(encoding)().decode(data, final=whole)
    except (UnicodeError, LookupError) as error:
        raise _no_text(place, encoding, error) from error


class Utf8Body:
    """What follows the first characters of a text file, in UTF-8; read like a binary file.

    Args:
        skip: Characters above the rows.
    """

    def __init__(self, stream: BinaryIO, encoding: str, skip: int, place: str) -> None:
        self._stream = stream
        self._place, self._encoding, self._skip = place, encoding, skip
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._left = b""
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, fewer at the end.

        Raises:
            HistorianError: what stands there is no text in the file's encoding.
        """
        held = [self._left]
        length = len(self._left)
        # In full: the reader of rows takes a short answer for a block of its own, in which a row has to fit.
        while size < 0 or length < size:
            block = self._stream.read(_BLOCK)
            held.append(self._text(block).encode())
            length += len(held[-1])
            if not block:
                break
        whole = b"".join(held)
        if size < 0:
            size = length
        found, self._left = whole[:size], whole[size:]
        return found

    def _text(self, block: bytes) -> str:
        try:
            text = self._decoder.decode(block, final=not block)
        except UnicodeError as error:
            raise _no_text(self._place, self._encoding, error) from error
        dropped = min(self._skip, len(text))
        self._skip -= dropped
        return text[dropped:]

    def close(self) -> None:
        self.closed = True


def _no_text(place: str, encoding: str, error: Exception) -> HistorianError:
    return HistorianError(
        f"{place} is no text in {encoding}: {error}. Set history.options.encoding, such as utf-8 or cp1252."
    )
