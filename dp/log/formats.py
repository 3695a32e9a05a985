"""All file formats, and which of them a file has."""

from pathlib import Path

from dp.log.csv_format import CSV
from dp.log.jsonl_format import JSONL
from dp.log.log import LogError
from dp.log.parquet_format import PARQUET
from dp.log.staging import Format

FORMATS = {one.name: one for one in (CSV, JSONL, PARQUET)}


def format_of(path: Path, name: str) -> Format:
    """The format of that name, or for "auto" the one that the suffix of the file tells, .gz aside.

    Raises:
        LogError: the suffix tells none.
        ValueError: no format has that name.
    """
    if name in FORMATS:
        return FORMATS[name]
    *others, last = FORMATS
    listed = f"{', '.join(others)} or {last}"
    if name != "auto":
        raise ValueError(f"input_format = {name!r}: must be auto, {listed}")
    uncompressed = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    suffix = uncompressed.suffix.lower()
    for one in FORMATS.values():
        if suffix in one.suffixes:
            return one
    raise LogError(f"{path}: cannot tell the format from the name; give --input-format {listed}")
