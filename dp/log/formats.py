"""All file formats, and which of them a file has."""

from collections.abc import Callable, Mapping

from dp.log import csv_format, jsonl_format, parquet_format
from dp.log.files import LogFile
from dp.log.log import LogError
from dp.log.staging import Format, Reading
from dp.names import LOG_FORMATS

_STAGES: Mapping[str, tuple[str, Callable[[Reading, LogFile], int]]] = {
    "csv": ("line", csv_format.stage),
    "jsonl": ("line", jsonl_format.stage),
    "parquet": ("row", parquet_format.stage),
}
FORMATS = {name: Format(name, suffixes, *_STAGES[name]) for name, suffixes in LOG_FORMATS.items()}


def format_named(name: str, file: LogFile) -> Format | None:
    """The format of that name, or for "auto" the one that the suffix of the file tells; None if it tells none.

    Raises:
        ValueError: no format has that name.
    """
    if name in FORMATS:
        return FORMATS[name]
    if name != "auto":
        raise ValueError(f"input_format = {name!r}: must be auto, {listed()}")
    return next((one for one in FORMATS.values() if file.unpacked_name.endswith(one.suffixes)), None)


def format_of(files: list[LogFile], name: str) -> Format:
    """The format that all files have.

    Raises:
        LogError: the name of a file tells none, or they differ.
        ValueError: no format has that name.
    """
    first = None
    for file in files:
        one = format_named(name, file)
        if one is None:
            raise LogError(f"{file}: cannot tell the format from the name; give --input-format {listed()}")
        first = first or one
        if one is not first:
            raise LogError(f"{file} is not {first.name} as {files[0]} is: give the files of one format")
    assert first is not None, "a log has at least one file"
    return first


def listed() -> str:
    """The names of all formats, in words."""
    *others, last = FORMATS
    return f"{', '.join(others)} or {last}"
