"""Which column of a file holds what."""

from collections import Counter
from collections.abc import Mapping, Sequence

from dp.log.files import LogFile, printable
from dp.log.log import LogError

COLUMNS = ("user", "day", "timestamp", "op", "at")
"""What a file may have."""
FIELDS = ("user", "day", "op", "at")
"""What every row is reduced to: day is whichever of day and timestamp the file has."""
TAKEN = (*COLUMNS, "seq", "label")
"""What no segment column can be called, in upper or lower case."""
UNLISTED = "\0"
"""How the name of a constant begins that no file and no folder gives; messages do not list it."""
BOTH_DAYS = "both a day and a timestamp"
CHOOSE_ONE = "choose one: --columns day=NAME or timestamp=NAME"


def validate_columns(columns: Mapping[str, str], segments: Sequence[str] = ()) -> None:
    """Raise ValueError unless segment columns have names of their own, and all keys are names of ours or theirs."""
    names = [name.lower() for name in segments]
    for segment, name in zip(segments, names, strict=True):
        if not name or name in TAKEN:
            raise ValueError(f"segments = {list(segments)}: {segment!r} is no name for a segment column")
        if names.count(name) > 1:
            raise ValueError(f"segments = {list(segments)}: {segment!r} stands there twice, upper or lower case")
    unknown = [name for name in columns if name not in (*COLUMNS, *segments)]
    if unknown:
        ours = ", ".join((*COLUMNS, *segments))
        raise ValueError(f"columns = {dict(columns)}: {unknown} not among ours, which are {ours}")


def segment_fields(segments: Sequence[str]) -> tuple[str, ...]:
    """What the fields of segment columns are called where rows are checked, whatever names the columns have."""
    return tuple(f"segment{place}" for place in range(len(segments)))


def day_columns(columns: Mapping[str, str]) -> list[str]:
    """Which of day and timestamp to look for: what `columns` names, or else both."""
    return [name for name in ("day", "timestamp") if name in columns] or ["day", "timestamp"]


def choose_columns(
    file: LogFile, found: list[str], columns: Mapping[str, str], nested: list[str], segments: Sequence[str] = ()
) -> dict[str, str]:
    """Which column holds which field. Names are compared as they are written: `User` is not `user`.

    Args:
        file: for messages.
        found: the columns of the file and of its folders.
        columns: from our names to the file's, where they differ.
        nested: dotted names of columns inside of columns, which only `columns` and `segments` can name.
        segments: the segment columns.

    Returns:
        From each of `FIELDS` that the file has, and from each of `segment_fields`, to the file's name of it.

    Raises:
        LogError: a name twice, a name in `columns` or of a segment that is not there, no user, or not exactly one of
            day and timestamp.
    """
    given = [name for name in found if not name.startswith(UNLISTED)]
    listed = f"columns found: {', '.join(map(_shown, given))}"
    twice = [name for name, times in Counter(found).items() if times > 1]
    wanted = {*columns.values(), *segments}
    twice += [name for name, times in Counter(nested).items() if times > 1 and name in wanted]
    if twice:
        raise LogError(f"{file}: column {', '.join(map(repr, sorted(twice)))} appears more than once; {listed}")
    for ours, theirs in columns.items():
        if theirs not in found and theirs not in nested:
            raise LogError(f"{file}: no column {theirs!r} for {ours}; {listed}")
    for segment in segments:
        if segment not in columns and segment not in found and segment not in nested:
            raise LogError(
                f"{file}: no column {segment!r} for a segment (another name: --columns {segment}=NAME); {listed}"
            )
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
        **{field: columns.get(name, name) for field, name in zip(segment_fields(segments), segments, strict=True)},
    }


def _shown(name: str) -> str:
    """The name, in quotes where it could not be told apart from another one."""
    return printable(name) if name and name == name.strip() else repr(name)
