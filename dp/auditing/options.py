"""What all audits share: their confidence, the level of their flags, threads and progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

ReportShare = Callable[[float], None]
"""Called with the share of the work that is done."""

Part = TypeVar("Part")

CONFIDENCE = 0.95
FLAG_LEVEL = 0.01
"""How often a mechanism that keeps its promise may be flagged, at most."""


def no_report(done: float) -> None:
    """Report no progress."""


@dataclass(frozen=True)
class AuditOptions:
    """How an audit is made; the defaults are those of the command `dpdau audit`.

    Attributes:
        confidence: of each lower bound.
        flag_level: the highest probability that a kept promise is flagged, all tests of the audit together.
        workers: threads; the result does not depend on how many there are.
        report: is called with the progress.
    """

    confidence: float = CONFIDENCE
    flag_level: float = FLAG_LEVEL
    workers: int = 1
    report: ReportShare = no_report

    def share(self, parts: Sequence[Part]) -> Iterator[tuple[Part, AuditOptions]]:
        """Each part of one audit, with its share of the flag level and of the progress."""
        for number, part in enumerate(parts):
            report = partial(_report_part, self.report, number, len(parts))
            yield part, replace(self, flag_level=self.flag_level / len(parts), report=report)


DEFAULT_OPTIONS = AuditOptions()


def _report_part(report: ReportShare, before: int, parts: int, done: float) -> None:
    report((before + done) / parts)
