"""A log that a visitor gives: found by its name and its SHA-256, read with refusals that show no more than they may.

Where a question is answered, its log lies beside it under its own name, as it does for `dpdau figure`. In the process
of the pages it lies in a folder of its visitor and its digest, FOLDER/VISITOR/SHA-256/NAME; a file of this machine is a
link there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dp.log import Log
    from dp.progress import Progress

NAMED = "a name that ends in .csv, .tsv, .jsonl, .ndjson, .json or .parquet; text also with .gz or .zst behind"


@dataclass(frozen=True)
class GivenLog:
    """A log by its content.

    Attributes:
        file: its name, without a folder.
        sha256: of its bytes, in hex.
        columns: the file's names for user, day or timestamp, op and at, where they differ: "user=CustomerID,day=Day".
    """

    file: str
    sha256: str
    columns: str = ""


def is_log_name(name: str) -> bool:
    """Whether a file of that name can be a log, and the name is one without a folder and can be printed."""
    from dp.log.files import LogFile
    from dp.log.formats import format_named

    plain = name == Path(name).name and name.isprintable() and not name.startswith(".")
    return plain and format_named("auto", LogFile(Path(name))) is not None


def column_names(text: str) -> dict[str, str]:
    """The columns in `GivenLog.columns`, by our names.

    Raises:
        ValueError: it is no list of pairs, or a name is none of ours.
    """
    from dp.log.columns import validate_columns

    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    names = {ours.strip(): theirs.strip() for ours, _, theirs in pairs}
    if len(names) < len(pairs) or not all(ours and theirs for ours, theirs in names.items()):
        raise ValueError(f"columns = {text!r}: write pairs such as user=CustomerID, timestamp=InvoiceDate, each once")
    validate_columns(names)
    return names


def locate(given: GivenLog, folder: Path) -> Path:
    """Where the log lies.

    Args:
        folder: see the top of this module.

    Raises:
        ValueError: it is not there, or the file of its name is another one.
    """
    from dp.log import fingerprint

    if not is_log_name(given.file):
        raise ValueError(f"log_file is {given.file!r}; give {NAMED}, without a folder")
    visitors = [visitor / given.sha256 / given.file for visitor in folder.iterdir() if visitor.is_dir()]
    found = next((path for path in (folder / given.file, *visitors) if path.is_file()), None)
    wanted = f"{given.file} with the SHA-256 {given.sha256}"
    if found is None:
        raise ValueError(f"{wanted} is needed beside the question, and there is no such file; give the log once more")
    try:
        digest = fingerprint(found)
    except OSError:
        raise ValueError(f"{given.file} cannot be read") from None
    if digest != given.sha256:
        raise ValueError(f"{wanted} is needed; the file of that name has the SHA-256 {digest}")
    return found


@contextmanager
def open_given(given: GivenLog, path: Path, progress: Progress) -> Iterator[Log]:
    """The log, read and checked.

    Args:
        path: where it lies.
        progress: called while it is read; what it raises ends the reading.

    Raises:
        ValueError: it is refused. What is wrong with a file of this machine is not said, because others than whoever
            asks may own what is in it.
    """
    from dp.log import LogError, read_log

    columns = column_names(given.columns)
    try:
        log = read_log(path, columns=columns, progress=progress)
    except LogError as error:
        raise ValueError(_refusal(str(error), given, path)) from None
    with log:
        yield log


def _refusal(message: str, given: GivenLog, path: Path) -> str:
    """What is wrong with a log, in the words of the page."""
    if path.is_symlink():
        return (
            f"{given.file} cannot be read as a log. What is in it is not shown here: `dpdau validate` says what is "
            "wrong with it, to whoever may read it."
        )
    lines = message.replace(str(path), given.file).replace("--columns ", "in Columns, ").splitlines()
    kept = [line for line in lines if not line.startswith("To go on without them")]
    return "\n".join([*kept, "`dpdau validate` lists all that is wrong and can set bad rows aside."])
