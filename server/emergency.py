"""The emergency file: where the guard's own orders are recorded while the journal cannot commit (DESIGN 7).

Preallocated, so that it can be written when the disk is full; it never grows. A record is length (4 bytes,
big-endian), CRC-32 of the payload (4 bytes) and the payload; four zero bytes end the file's content. A torn
last record, all that a crash can leave, is not a record.
"""

import os
import zlib
from pathlib import Path

from portfolio.core.errors import JournalError

SIZE = 1 << 20
_HEAD = 8
_END = b"\0\0\0\0"


class EmergencyFile:
    """Implements `ports.EmergencyLog` on one file."""

    def __init__(self, path: Path, *, size: int = SIZE) -> None:
        """Open or create the file.

        Raises:
            JournalError: it cannot be created, or there is no room for it now.
        """
        self._path = path
        self._size = size
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._failed("opened", error) from error
        try:
            # Existing content stays; missing blocks are reserved as zeros.
            os.posix_fallocate(self._file, 0, size)
            os.fsync(self._file)
            self._records, self._end = self._load()
        except OSError as error:
            os.close(self._file)
            raise self._failed("preallocated", error) from error

    def append(self, record: bytes) -> None:
        """See `EmergencyLog.append`.

        Raises:
            JournalError: empty, or no room left, or the write failed.
        """
        framed = len(record).to_bytes(4, "big") + zlib.crc32(record).to_bytes(4, "big") + record
        if not record or self._end + len(framed) + len(_END) > self._size:
            raise JournalError(
                f"The emergency file {self._path} has no room for {len(record)} bytes.",
                next_step="Repair the journal: nothing more can be recorded.",
            )
        self._write(self._end, framed + _END)
        self._end += len(framed)
        self._records.append(record)

    def records(self) -> tuple[bytes, ...]:
        """What was kept since the last `clear`, in order."""
        return tuple(self._records)

    def clear(self) -> None:
        """Forget everything.

        Raises:
            JournalError: the write failed.
        """
        if self._end:
            self._write(0, _END)
            self._records, self._end = [], 0

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)

    def _write(self, at: int, content: bytes) -> None:
        try:
            written = os.pwrite(self._file, content, at)
            os.fdatasync(self._file)
        except OSError as error:
            raise self._failed("written", error) from error
        if written != len(content):
            raise JournalError(f"The emergency file {self._path} took {written} of {len(content)} bytes.")

    def _load(self) -> tuple[list[bytes], int]:
        content = os.pread(self._file, self._size, 0)
        records: list[bytes] = []
        at = 0
        while at + _HEAD <= len(content):
            length = int.from_bytes(content[at : at + 4], "big")
            check = int.from_bytes(content[at + 4 : at + _HEAD], "big")
            payload = content[at + _HEAD : at + _HEAD + length]
            if not length or len(payload) < length or zlib.crc32(payload) != check:
                break
            records.append(payload)
            at += _HEAD + length
        return records, at

    def _failed(self, what: str, error: OSError) -> JournalError:
        return JournalError(
            f"The emergency file {self._path} cannot be {what}: {error.strerror}.",
            next_step="Check the disk of the home folder.",
        )
