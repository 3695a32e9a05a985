"""A row of a table, as commands, pages and benchmarks pass it on: columns by name."""

from __future__ import annotations

from typing import Any

TableRow = dict[str, Any]
