"""A release in three calls: plan, simulate, publish. Results are pandas frames, defaults those of the command line."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from dp.accounting.composition import Guarantee
from dp.counts import Counts
from dp.database_url import Place
from dp.face.arguments import DateLike, day_of, table_of, windows_of
from dp.ledger import DEFAULT_BUDGET, Ledger, open_ledger, provide_budget
from dp.log import Attributes, Log, read_attributes, read_log
from dp.mechanisms import Mechanism
from dp.mechanisms.joint import Exceptions
from dp.names import DEFAULT_W_BOUND, default_mechanism
from dp.presence.tombstone_file import Compaction, past_name, read_compaction
from dp.questions import Breakdown, attribute_columns, questions_of, segment_columns
from dp.release import (
    Plan,
    Request,
    charged,
    count_log,
    default_stream,
    log_name,
    plan_release,
    promise,
    publish,
    recall,
    simulate_rows,
)

if TYPE_CHECKING:
    import pandas as pd

    from dp.sketches.salts import Salts

LogOrCounts = Log | Path | str | Mapping[str, Counts]
"""What can be counted: a log, the path of one, or counts that were counted for the plan."""
TombstonesLike = Compaction | Path | str
"""What `dpdau compact` left of erased users when it made the log, or the path of its file."""
UsersLike = Attributes | Path | str
"""What is known of users, or the path of a table of users."""


@dataclass(frozen=True, eq=False)
class ReleasePlan:
    """A release with its noise, before anything is counted, drawn or spent. Make it with `dp.plan`.

    Attributes:
        calibrated: the request and its mechanisms.
        last: the last tick that is counted.
        salts: that choose the sample, where one is counted.
    """

    calibrated: Plan
    last: date
    salts: Salts | None = None

    @property
    def request(self) -> Request:
        """The public parameters."""
        return self.calibrated.request

    @property
    def mechanisms(self) -> dict[str, Mechanism]:
        """The calibrated mechanism of every question; all series of one have noise of their own."""
        return {name: series.mechanism for name, series in self.calibrated.by_question.items()}

    @property
    def guarantee(self) -> Guarantee:
        """(ε, δ) of the whole release: what the ledger is charged, once."""
        return charged(self.request)

    @property
    def promise(self) -> str:
        """What is promised to whom, in one sentence."""
        return promise(self.request)

    @property
    def stream(self) -> str:
        """The key under which `publish` charges and continues counts, unless another is given; of the request alone.

        For a log, what the log is called is a part of it.
        """
        return default_stream(self.request)

    @property
    def std(self) -> dict[str, float]:
        """The largest standard deviation of a release of each question, in users; NaN where it depends on the data."""
        deviations = self.deviations
        return {name: float(deviations[name].max()) for name in self.mechanisms}

    @property
    def deviations(self) -> pd.DataFrame:
        """Standard deviations of the releases, in users: a row a day, a column a question.

        NaN on days on which none is published, and where it depends on the data.
        """
        import pandas as pd

        rate = 1.0 if self.request.sample is None else self.request.sample.rate
        frame = pd.DataFrame(index=pd.date_range(self.request.first, periods=self._ticks, name="day"))
        for name, series in self.calibrated.by_question.items():
            days = series.days(self.request.first, self._ticks)
            deviations = series.mechanism.standard_deviation(len(days)) / rate
            frame[name] = pd.Series(deviations, index=pd.DatetimeIndex(days))
        return frame

    @property
    def _ticks(self) -> int:
        return (self.last - self.request.first).days + 1

    def count(
        self, source: LogOrCounts, *, tombstones: TombstonesLike | None = None, users: UsersLike | None = None
    ) -> dict[str, Counts]:
        """The counts that the plan needs. NOT PRIVATE.

        Args:
            source: a log, the path of one, or the plan's own counts.
            tombstones: of a log that `dpdau compact` made. From the day of the compaction on, the counts are those of
                the whole log; before, they are without the users who left.
            users: a table of users, for breakdowns of kind fixed (`dp.log.read_attributes`), or its path.

        Raises:
            LogError: the log cannot be read.
            ValueError: the tombstones are of another log, or do not know the plan's first tick; or the log or the table
                of users lacks a column of a breakdown.
        """
        with ExitStack() as stack:
            return self._counted(source, tombstones, users, stack)[0]

    @overload
    def simulate(
        self,
        source: LogOrCounts,
        *,
        seed: int,
        tombstones: TombstonesLike | None = ...,
        users: UsersLike | None = ...,
        rows: Literal[False] = False,
    ) -> pd.DataFrame: ...
    @overload
    def simulate(
        self,
        source: LogOrCounts,
        *,
        seed: int,
        tombstones: TombstonesLike | None = ...,
        users: UsersLike | None = ...,
        rows: Literal[True],
    ) -> list[dict[str, Any]]: ...
    def simulate(
        self,
        source: LogOrCounts,
        *,
        seed: int,
        tombstones: TombstonesLike | None = None,
        users: UsersLike | None = None,
        rows: bool = False,
    ) -> pd.DataFrame | list[dict[str, Any]]:
        """A rehearsal: seeded noise, nothing charged, every row says `secure: False`. Not private.

        Args:
            source: a log, the path of one, or the plan's own counts.
            seed: the same seed gives the same numbers.
            tombstones: of a log that `dpdau compact` made; see `count`.
            users: for breakdowns of kind fixed; see `count`.
            rows: whether to return plain rows and no frame.

        Raises:
            LogError: the log cannot be read.
            ValueError: counts were not counted as the plan says.
        """
        simulated = simulate_rows(self.calibrated, self.count(source, tombstones=tombstones, users=users), seed)
        return simulated if rows else _frame(simulated)

    @overload
    def publish(
        self,
        source: LogOrCounts,
        *,
        ledger: Ledger | Path | str = ...,
        budget: str = ...,
        stream: str | None = ...,
        tombstones: TombstonesLike | None = ...,
        users: UsersLike | None = ...,
        now: datetime | None = ...,
        rows: Literal[False] = False,
    ) -> pd.DataFrame: ...
    @overload
    def publish(
        self,
        source: LogOrCounts,
        *,
        ledger: Ledger | Path | str = ...,
        budget: str = ...,
        stream: str | None = ...,
        tombstones: TombstonesLike | None = ...,
        users: UsersLike | None = ...,
        now: datetime | None = ...,
        rows: Literal[True],
    ) -> list[str]: ...
    def publish(
        self,
        source: LogOrCounts,
        *,
        ledger: Ledger | Path | str = "dpdau.ledger",
        budget: str = DEFAULT_BUDGET,
        stream: str | None = None,
        tombstones: TombstonesLike | None = None,
        users: UsersLike | None = None,
        now: datetime | None = None,
        rows: bool = False,
    ) -> pd.DataFrame | list[str]:
        """Publish with OpenDP's noise: charged once for the whole horizon, drawn once, the same bytes ever after.

        A ledger that has no budget yet gets one called "default" (ε 10, δ 1e-5). Where all days are published already,
        the log is not read.

        Args:
            source: a log, the path of one, or the plan's own counts.
            ledger: an open ledger, or the path or URL of one, which is made where there is none.
            stream: idempotent key, by default made of the request and of the path of the log, as in `dpdau release`.
                Under the same key published days return unchanged, whatever the log now holds, and later days are
                added; then a log whose past is another is refused. Counts have no path: give every log of theirs a
                stream of its own.
            tombstones: of a log that `dpdau compact` made; without them its streams are refused.
            users: for breakdowns of kind fixed; see `count`.
            now: what the ledger's clock says; by default the time of day in UTC.
            rows: whether to return the published rows as they are stored, one JSON text each, and no frame.

        Raises:
            BudgetExhausted: nothing was charged or released.
            LedgerError: the stream exists with other parameters or another past.
            LogError: the log cannot be read.
            ValueError: counts were not counted as the plan says.
        """
        now = now or datetime.now(UTC)
        with ExitStack() as stack:
            book = ledger if isinstance(ledger, Ledger) else stack.enter_context(open_ledger(ledger))
            name = stream or self._name(source, book.place)
            published = recall(book, name, budget, self.calibrated, self._ticks, now)
            if published is None:
                counts, arrived = self._counted(source, tombstones, users, stack)
                provide_budget(book, now.date())
                published = publish(book, name, budget, self.calibrated, counts, now, arrived=arrived)
        return published if rows else _frame([json.loads(row) for row in published])

    def _name(self, source: LogOrCounts, ledger: Place) -> str:
        if isinstance(source, Mapping):
            return self.stream
        paths, how = (source.paths, source.read_as) if isinstance(source, Log) else ((str(source),), "")
        return default_stream(self.request, log_name(paths, ledger), how) if paths else self.stream

    def _counted(
        self, source: LogOrCounts, tombstones: TombstonesLike | None, users: UsersLike | None, stack: ExitStack
    ) -> tuple[dict[str, Counts], Callable[[date], str] | None]:
        """The counts and, of a log, what names the operations that had arrived by the end of a day."""
        if isinstance(source, Mapping):
            if tombstones is not None:
                raise ValueError("tombstones go with a log; counts are made with them by dp.plan(...).count")
            return dict(source), None
        left = (
            tombstones
            if tombstones is None or isinstance(tombstones, Compaction)
            else read_compaction(Path(tombstones))
        )
        asked = self.request.questions
        if not isinstance(source, Log):
            source = stack.enter_context(read_log(source, segments=segment_columns(asked)))
        log = source
        if not (users is None or isinstance(users, Attributes)):
            users = read_attributes(users, attribute_columns(asked))
        if left is not None:
            left.validate(log)
        counts = count_log(log, self.calibrated, self.last, salts=self.salts, compaction=left, attributes=users)
        return counts, functools.partial(past_name, log, compaction=left, segments=log.segments)


def plan(
    metrics: str | Sequence[str] | Mapping[str, int] = (),
    *,
    epsilon: float,
    first: DateLike,
    last: DateLike,
    delta: float = 1e-6,
    unit: str = "user-day",
    w_bound: int = DEFAULT_W_BOUND,
    mechanism: str | None = None,
    horizon: int | Literal["unlimited"] | None = None,
    split: Mapping[str, float] | None = None,
    ci_level: float = 0.95,
    on_time: Exceptions | None = None,
    sketch: str = "exact",
    rate: float | None = None,
    salts: Salts | None = None,
    flows: Sequence[str] = (),
    calendar: Sequence[str] = (),
    by: Sequence[Breakdown] = (),
    spend_delta: bool = False,
) -> ReleasePlan:
    """Choose and calibrate the noise of a release; nothing is counted or spent.

    Args:
        metrics: one or more of "dau", "wau" and "mau"; or any names, each with its trailing window in days.
        epsilon: of all series together, over the whole horizon.
        first: first tick, a date or its text (2024-01-31).
        last: last tick that is counted.
        delta: of all series together; Laplace mechanisms do not use it without `spend_delta`.
        unit: who is protected: "user-day" or "user".
        w_bound: W_BOUND, the most flips of presence of what is protected.
        mechanism: a name in `dp.MECHANISMS`; by default damped-square-root, or subtraction-tree where `delta` is 0.
            With "best", every question gets the linear mechanism with the least noise.
        horizon: ticks that the guarantee covers; by default from `first` to `last`. Give it when the stream is to be
            continued later.
        split: how the questions divide the budget, by their names (mau, mau/flows, week, mau/platform); equally by
            default.
        ci_level: level of the pointwise intervals.
        on_time: with unit "user", for users who act on time with at most this many exceptions.
        sketch: what counts the users; "fixed-rate" counts a sample.
        rate: with "fixed-rate", the share of the users in the sample.
        salts: with "fixed-rate", the secret salts that choose it (`dp.sketches.salts.load_salts`).
        flows: metrics of which the users who are new, come back and are gone are counted every day, too.
        calendar: "week" or "month", or both: users active in each, published on its last day.
        by: breakdowns (`dp.breakdown`) of every metric, flow and calendar cell.
        spend_delta: let a Laplace mechanism spend δ, which needs less noise where a change alters many numbers.

    Raises:
        ValueError: an argument is out of range, unknown, or does not fit the others; the message names it.

    Examples:
        >>> import dp
        >>> plan = dp.plan(["dau", "mau"], epsilon=1, first="2024-01-01", last="2024-04-29")
        >>> plan.promise.split(".")[0]
        "Promised: (1, 1e-06)-differential privacy over all 120 days together, for one user's activity on one day with \
its later retraction, as long as that changes the user's presence at most 2 times"
        >>> round(plan.std["mau"], 1)
        15.3
    """
    windows = windows_of(metrics)
    start, end = day_of("first", first), day_of("last", last)
    if end < start:
        raise ValueError(f"last is {end}, before first, which is {start}")
    if (sketch == "fixed-rate") != (rate is not None):
        raise ValueError(f"sketch is {sketch!r} and rate is {rate}; a rate goes with the sketch 'fixed-rate'")
    if (rate is None) != (salts is None):
        raise ValueError("rate and salts go together: a sample is chosen by secret salts")
    questions = questions_of(windows, flows, calendar, by)
    names = [*windows, *(question.name for question in questions)]
    covered = None if horizon == "unlimited" else horizon or (end - start).days + 1
    request = Request(
        windows=windows,
        unit=unit,
        w_bound=w_bound,
        guarantee=Guarantee(float(epsilon), float(delta)),
        mechanism=mechanism or default_mechanism(delta),
        first=start,
        horizon=covered,
        shares=dict.fromkeys(names, 1.0) if split is None else dict(split),
        ci_level=ci_level,
        on_time=on_time,
        sketch=sketch,
        sample=_sample(rate, salts, start, covered),
        questions=questions,
        spend_delta=spend_delta,
    )
    return ReleasePlan(plan_release(request), end, salts)


def _sample(rate: float | None, salts: Salts | None, first: date, ticks: int | None) -> Any:
    if rate is None or salts is None:
        return None
    from dp.sketches.sampling import sample_in_force

    return sample_in_force(rate, salts, first, ticks)


def _frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of a release with days as dates."""
    frame = table_of(rows)
    return frame.assign(day=frame["day"].astype("datetime64[s]"))
