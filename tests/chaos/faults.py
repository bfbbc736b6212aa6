"""Makes the machine fail below a folder: at a chosen call of the system, or its clock.

A library in C, built where there is a compiler, stands between a program and libc. All
that a program does comes through it, also what TensorStore does in its threads.
"""

import errno
import os
import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")
# What writes, makes or finishes a file, and what reads one.
WRITING = ("create", "write", "mkdir", "rename", "sync")
READING = ("open", "read", "opendir")
_FOR_EVER = 10**9


class CannotBuild(Exception):
    """Why the library cannot be built here."""


class Faults:
    """The settings of the library, which every process reads when it starts.

    Args:
      folder: for the library and its files.

    Raises:
      CannotBuild: there is no compiler, or no library by that way.
    """

    def __init__(self, folder: Path):
        compiler = shutil.which("cc")
        if compiler is None:
            raise CannotBuild("no C compiler")
        library = folder / "faults.so"
        command = [compiler, "-O1", "-shared", "-fPIC", "-o", library, SOURCE]
        built = subprocess.run(
            [*command, "-ldl", "-lpthread"], capture_output=True, text=True
        )
        if built.returncode:
            raise CannotBuild(built.stderr.splitlines()[0])
        self._settings = folder / "settings"
        self._counted, self._clock = folder / "counted", folder / "clock"
        self.variables = {"LD_PRELOAD": str(library), "FAULTS": str(self._settings)}
        self.none()

    def none(self) -> None:
        """The machine works."""
        self._settings.write_text("")

    def fail(
        self,
        folder: Path,
        calls: tuple[str, ...],
        name: str,
        first: int = 0,
        num: int = _FOR_EVER,
    ) -> None:
        """From the next start of a program on, calls fail.

        Args:
          folder: below which.
          calls: of `WRITING` and `READING`.
          name: of the error, such as 'ENOSPC'.
          first: number of the first call that fails, from 0.
          num: how many fail.
        """
        self._counted.write_bytes(bytes(8))
        self._write(
            under=f"{folder}/",
            calls=",".join(calls),
            errno=getattr(errno, name),
            first=first,
            last=first + num - 1,
            counted=self._counted,
        )

    def num_calls(self) -> int:
        """Calls of these kinds since `fail`, whether they failed or not."""
        return struct.unpack("q", self._counted.read_bytes())[0]

    def keep_clock(self) -> None:
        """From the next start of a program on, `set_clock` sets its clock."""
        self._clock.write_bytes(struct.pack("d", 0.0))
        self._write(clock=self._clock)

    def set_clock(self, seconds: float) -> None:
        """Sets the clock of programs that run, this much ahead of the machine's."""
        with self._clock.open("r+b") as file:
            os.pwrite(file.fileno(), struct.pack("d", seconds), 0)

    def _write(self, **settings: object) -> None:
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        self._settings.write_text("".join(lines))
