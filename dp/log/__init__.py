"""Activity logs at the edge: files in, checked row by row; one table of operations out."""

from dp.log.reading import (
    Log,
    LogError,
    arrived_fingerprint,
    fingerprint,
    is_utf8,
    log_of,
    read_log,
    write_canonical,
)

__all__ = [
    "Log", "LogError", "arrived_fingerprint", "fingerprint", "is_utf8", "log_of", "read_log", "write_canonical",
]  # fmt: skip
