"""How the exports of common tools name what a log needs, as the tools' own documentation has it."""

from collections.abc import Mapping
from dataclasses import dataclass

from dp.log.moments import ISO, UTC_CLOCKS
from dp.names import LOG_PRESETS


@dataclass(frozen=True)
class Preset:
    """How to read the exports of a tool.

    Attributes:
        columns: from our names to the tool's.
        date_format: how it writes times.
        shape: which export is meant, in words.
    """

    columns: Mapping[str, str]
    date_format: str
    shape: str


PRESETS = dict(
    zip(
        LOG_PRESETS,
        (
            Preset({"user": "domain_userid", "timestamp": "derived_tstamp"}, UTC_CLOCKS, "the table `events`"),
            Preset({"user": "userId", "timestamp": "timestamp"}, UTC_CLOCKS,
                   "calls as the Spec has them, JSON Lines"),
            Preset({"user": "distinct_id", "timestamp": "timestamp"}, UTC_CLOCKS,
                   "a batch export of events, JSON Lines or Parquet"),
            Preset({"user": "properties.distinct_id", "timestamp": "properties.time"}, "epoch-s",
                   "the raw event export, JSON Lines"),
            Preset({"user": "amplitude_id", "timestamp": "event_time"}, UTC_CLOCKS, "the export API, JSON Lines"),
            Preset({"user": "user_pseudo_id", "timestamp": "event_timestamp"}, "epoch-us",
                   "the tables `events_*` in BigQuery, as JSON Lines or Parquet"),
        ),
        strict=True,
    )
)  # fmt: skip


def applied(
    like: str | None, columns: Mapping[str, str] | None, date_format: str | None
) -> tuple[Mapping[str, str], str]:
    """Columns and date format: those of the preset `like`, but what is given outright goes first.

    Raises:
        ValueError: no preset has that name.
    """
    if like is None:
        return columns or {}, ISO if date_format is None else date_format
    if like not in PRESETS:
        raise ValueError(f"like = {like!r}: must be one of {', '.join(PRESETS)}")
    preset, given = PRESETS[like], columns or {}
    # A day given outright takes the place of the tool's timestamp, and the other way round.
    days = {"day", "timestamp"} if {"day", "timestamp"} & given.keys() else set()
    if date_format is None:
        date_format = ISO if days else preset.date_format
    return {**{ours: name for ours, name in preset.columns.items() if ours not in days}, **given}, date_format
