"""Which column of a file holds what."""

from collections import Counter
from collections.abc import Mapping

from dp.log.files import LogFile, printable
from dp.log.log import LogError

COLUMNS = ("user", "day", "timestamp", "op", "at")
"""What a file may have."""
FIELDS = ("user", "day", "op", "at")
"""What every row is reduced to: day is whichever of day and timestamp the file has."""
BOTH_DAYS = "both a day and a timestamp"
CHOOSE_ONE = "choose one: --columns day=NAME or timestamp=NAME"


def validate_columns(columns: Mapping[str, str]) -> None:
    """Raise ValueError unless all keys are names of ours."""
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise ValueError(f"columns = {dict(columns)}: {unknown} not among ours, which are {', '.join(COLUMNS)}")


def day_columns(columns: Mapping[str, str]) -> list[str]:
    """Which of day and timestamp to look for: what `columns` names, or else both."""
    return [name for name in ("day", "timestamp") if name in columns] or ["day", "timestamp"]


def choose_columns(file: LogFile, found: list[str], columns: Mapping[str, str], nested: list[str]) -> dict[str, str]:
    """Which column holds which field. Names are compared as they are written: `User` is not `user`.

    Args:
        file: for messages.
        found: the columns of the file and of its folders.
        columns: from our names to the file's, where they differ.
        nested: dotted names of columns inside of columns, which only `columns` can name.

    Returns:
        From each of `FIELDS` that the file has to the file's name of it.

    Raises:
        LogError: a name twice, a name in `columns` that is not there, no user, or not exactly one of day and timestamp.
    """
    listed = f"columns found: {', '.join(map(_shown, found))}"
    twice = [name for name, times in Counter(found).items() if times > 1]
    twice += [name for name, times in Counter(nested).items() if times > 1 and name in columns.values()]
    if twice:
        raise LogError(f"{file}: column {', '.join(map(repr, sorted(twice)))} appears more than once; {listed}")
    for ours, theirs in columns.items():
        if theirs not in found and theirs not in nested:
            raise LogError(f"{file}: no column {theirs!r} for {ours}; {listed}")
    chosen = {ours: columns.get(ours, ours) for ours in COLUMNS if ours in columns or ours in found}
    if "user" not in chosen:
        raise LogError(f"{file}: no column 'user' (another name: --columns user=NAME); {listed}")
    days = [ours for ours in day_columns(columns) if ours in chosen]
    if len(days) != 1:
        problem = f"{BOTH_DAYS} column" if days else "no column 'day' or 'timestamp'"
        raise LogError(f"{file}: {problem} ({CHOOSE_ONE}); {listed}")
    return {
        "user": chosen["user"],
        "day": chosen[days[0]],
        **{name: chosen[name] for name in FIELDS[2:] if name in chosen},
    }


def _shown(name: str) -> str:
    """The name, in quotes where it could not be told apart from another one."""
    return printable(name) if name and name == name.strip() else repr(name)
