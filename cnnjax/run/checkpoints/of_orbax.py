"""The file that Orbax reads of every checkpoint when it opens their folder.

Whatever is wrong in it would end the start, also where another checkpoint is whole.
"""

import json
from pathlib import Path

from cnnjax.files import UnfitFile, read_regular
from cnnjax.record_kinds import COUNT
from cnnjax.run.checkpoints.damaged import DamagedError
from cnnjax.schema import Maybe, Object, Table, Text

NAME = "_CHECKPOINT_METADATA"
_MOST_BYTES = 2**20  # it has a few names and times
_KIND = Maybe(
    Object(
        may={
            "item_handlers": Maybe(Table(Text())),
            "init_timestamp_nsecs": Maybe(COUNT),
            "commit_timestamp_nsecs": Maybe(COUNT),
            **dict.fromkeys(
                ("metrics", "performance_metrics", "custom_metadata"), Maybe(Object())
            ),
        }
    )
)


def check_metadata(folder: Path) -> None:
    """Looks at the file that Orbax reads of a checkpoint before it is asked for.

    Args:
      folder: of the checkpoint.

    Raises:
      DamagedError: it holds what would make Orbax fail.
      OSError: the system refuses to read it.
    """
    try:
        text = read_regular(folder / NAME, _MOST_BYTES).decode()
    except (FileNotFoundError, UnicodeDecodeError):
        return  # Orbax does without
    except UnfitFile as error:
        raise DamagedError(str(error)) from error
    flaws: list[str] = []
    try:
        _KIND.sift(json.loads(text), "", flaws)
    except json.JSONDecodeError:
        return  # and here
    except (ValueError, RecursionError) as error:  # thousands of digits or brackets
        raise DamagedError(f"{NAME} is no JSON that can be read") from error
    if flaws:
        raise DamagedError(f"in {NAME} {flaws[0]}")
