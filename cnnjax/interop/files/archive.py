"""Zip archives that may be damaged, or made to fill memory."""

import pathlib
import zipfile
from typing import Any, BinaryIO

from cnnjax.errors import UserError, printable
from cnnjax.interop.files.unread import first_sentence

AGAIN = "copy or download it again"
# Of the table of contents, which has about a hundred bytes for each tensor.
MOST_CONTENTS = 16 * 2**20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class _Bounded:
    """The file of an archive, of which no more than `most` bytes are read at once."""

    def __init__(self, file: BinaryIO, most: int):
        self.file, self.most = file, most
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        if count > self.most:
            raise zipfile.BadZipFile("its table of contents is too long")
        return self.file.read(count)


class Archive:
    """A zip archive of which single entries are read, each against its checksum.

    Args:
      path: for messages.
      file: open for reading; it has to stay open.

    Raises:
      UserError: its table of contents is damaged or far too long, or has a name twice.
    """

    def __init__(self, path: pathlib.Path, file: BinaryIO):
        self.path = path
        bounded = _Bounded(file, MOST_CONTENTS)
        try:
            self.file = zipfile.ZipFile(bounded)
        # Damaged tables of contents fail in many ways.
        except Exception as error:
            raise self.damaged(
                f"an archive without a table of contents, {first_sentence(error)}"
            ) from error
        bounded.most = file.seek(0, 2)
        self.entries: dict[str, zipfile.ZipInfo] = {}
        for entry in self.file.infolist():
            if entry.filename in self.entries:
                raise self.damaged(f"{printable(entry.filename)} is in it twice")
            self.entries[entry.filename] = entry
        # torch may omit checksums (`set_crc32_options`); zeros do not mean damage.
        self.has_sums = any(entry.CRC for entry in self.entries.values())

    def damaged(self, reason: str) -> UserError:
        return UserError(
            f"weight file {printable(self.path)} is not a complete file ({reason}): "
            f"{AGAIN}"
        )

    def size(self, name: str) -> int:
        """Bytes of an entry when it is unpacked, as the table of contents says."""
        return self.entries[name].file_size

    def read(self, name: str, most: int) -> bytes:
        """The first `most` bytes of an entry; its checksum is compared if that is all.

        Raises:
          UserError: it is damaged.
          OSError: the file cannot be read now.
        """
        entry: Any = self.entries[name]
        if entry.compress_type not in _METHODS:
            raise self.damaged(f"{printable(name)} is compressed in an unusual way")
        if not self.has_sums:
            entry.CRC = None
        try:
            with self.file.open(entry) as content:
                data = content.read(min(most, entry.file_size))
                # The sum is compared where the end is found.
                if len(data) == entry.file_size:
                    content.read(1)
        except OSError:
            raise
        except Exception as error:  # a damaged header of an entry
            reason = f"damaged inside: {first_sentence(error)}"
            raise self.damaged(printable(reason)) from error
        if len(data) < min(most, entry.file_size):
            raise self.damaged(f"{printable(name)} is too short")
        return data
