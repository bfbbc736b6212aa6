"""Options and job states of SLURM; needs neither submitit nor JAX."""

import re
import subprocess
from collections.abc import Iterable

from cnnjax.errors import UserError, unknown_name

# Option of --launcher_options -> its name in submitit.
OPTIONS = {
    "partition": "partition",
    "account": "account",
    "qos": "qos",
    "time": "time",
    "cpus": "cpus_per_task",
    "gpus": "gpus_per_node",
    "mem": "mem",
    "gres": "gres",
    "constraint": "constraint",
    "nodelist": "nodelist",
    "exclude": "exclude",
    "dependency": "dependency",
    "comment": "comment",
}
COUNTS = ("cpus", "gpus")
TIME = "minutes, minutes:seconds, hours:minutes:seconds, days-hours or days-hours:..."
# In these states a job has ended; in any other it waits, runs or will run again.
OVER = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}


def parse_options(text: str) -> dict[str, str | int]:
    """Reads `--launcher_options`.

    Args:
      text: KEY=VALUE pairs, separated by commas; a value may hold commas.

    Returns:
      submitit's name -> value.

    Raises:
      UserError: an unknown key, or a value that is not valid.
    """
    options: dict[str, str | int] = {}
    for pair in re.split(r",(?=\w+=)", text) if text else ():
        key, _, value = pair.partition("=")
        if key not in OPTIONS:
            raise unknown_name("launcher option", key, OPTIONS, "--launcher_options")
        if not value:
            raise UserError(
                f"--launcher_options has no value for {key}: write {key}=VALUE"
            )
        if key == "time":
            options["time"] = minutes(value)
        elif key in COUNTS:
            options[OPTIONS[key]] = _count(key, value)
        else:
            options[OPTIONS[key]] = value
    return options


def minutes(text: str) -> int:
    """Minutes of a time limit in SLURM's notation, rounded up.

    Raises:
      UserError: it is not one.
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        raise UserError(f"--launcher_options has time={text}: SLURM takes {TIME}")
    days, *parts = match.groups()
    given = [int(part) for part in parts if part is not None]
    has_hours = days is not None or len(given) == 3
    units = (3600, 60, 1) if has_hours else (60, 1)
    seconds = sum(n * unit for n, unit in zip(given, units, strict=False))
    return -(-(seconds + 86400 * int(days or 0)) // 60)


def _count(key: str, value: str) -> int:
    if not value.isdigit() or value == "0":
        raise UserError(
            f"--launcher_options has {key}={value}: give a number of at least 1"
        )
    return int(value)


def job_states() -> dict[str, str] | None:
    """Job -> state, of all jobs of the user that SLURM knows; None if it fails.

    Tasks of an array have names such as '12_3'. SLURM knows jobs for a while after
    they have ended (`MinJobAge`). This works without an accounting database.
    """
    command = ["squeue", "--me", "--array", "--noheader", "--states=all"]
    try:
        listed = subprocess.run(
            [*command, "--format=%i %T"],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(line.split() for line in listed.splitlines() if line)


def is_active(state: str | None) -> bool:
    """Whether a job in this state waits, runs, or will run again."""
    return state is not None and state not in OVER


def cancel_line(jobs: Iterable[str]) -> str:
    """The command that cancels these jobs; each array is named once."""
    return f"scancel {' '.join(dict.fromkeys(job.split('_')[0] for job in jobs))}"
