"""Activity logs at the edge: files in, checked row by row; one table of operations out."""

from dp.log.attributes import Attributes, read_attributes
from dp.log.files import fingerprint, is_utf8
from dp.log.log import Log, LogError, log_of
from dp.log.operations import arrived_fingerprint, takes_back_segments, write_canonical
from dp.log.reading import read_as, read_log

__all__ = [
    "Attributes", "Log", "LogError", "arrived_fingerprint", "fingerprint", "is_utf8", "log_of", "read_as",
    "read_attributes", "read_log", "takes_back_segments", "write_canonical",
]  # fmt: skip
