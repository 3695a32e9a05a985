"""What someone asks to be published: the public parameters of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from dp.accounting.composition import Guarantee
from dp.counts import Sample
from dp.mechanisms import MechanismFamily, family_of
from dp.mechanisms.joint import Exceptions
from dp.names import BEST_MECHANISM, DEFAULT_W_BOUND
from dp.questions import Question, question_from, totals_of


@dataclass(frozen=True)
class Request:
    """What someone asks to be published; the public parameters of a stream.

    Attributes:
        windows: metric name → trailing window in days: the totals of rolling cells that are asked for.
        unit: who is protected, "user-day" or "user".
        w_bound: most flips of the protected change; without effect where the mechanism needs no such bound.
        guarantee: of all series together, over the whole horizon; δ is 0 for Laplace noise.
        mechanism: a name in `dp.mechanisms.MECHANISMS`, or BEST_MECHANISM.
        first: first tick.
        horizon: number of ticks that the guarantee covers, None for no end.
        shares: how the questions divide the budget (μ² or ε), by their names; one positive number each, normalised.
        ci_level: level of the pointwise intervals.
        on_time: for the unit user, protects whoever acts on time with at most these exceptions: nobody is frozen, and
            the series are calibrated for their joint worst case (docs/guarantees.md, section 14).
        sketch: what counts the users, a name in `dp.sketches.SKETCHES` whose counts a mechanism can make private.
        sample: for the sketch fixed-rate, whom it counts; the counts given are then those of the sample.
        questions: what else is asked for: flows, calendar cells, and any cell by a breakdown.
        spend_delta: Laplace noise is composed by its privacy losses and spends δ, instead of adding up ε.
        chosen: for BEST_MECHANISM, the name of a question → the mechanism that draws for it, all with one kind of
            noise; None where they are not chosen yet (`dp.release.best`).
    """

    windows: Mapping[str, int]
    unit: str
    w_bound: int
    guarantee: Guarantee
    mechanism: str
    first: date
    horizon: int | None
    shares: Mapping[str, float]
    ci_level: float = 0.95
    on_time: Exceptions | None = None
    sketch: str = "exact"
    sample: Sample | None = None
    questions: tuple[Question, ...] = ()
    spend_delta: bool = False
    chosen: Mapping[str, str] | None = None

    @property
    def family(self) -> MechanismFamily:
        """Of the mechanism, or of one of those chosen: they draw one kind of noise, and spend δ alike."""
        return family_of(self.mechanism if self.chosen is None else next(iter(self.chosen.values())))

    def mechanism_of(self, question: str) -> str:
        """The name of the mechanism that draws for a question, given by its name."""
        return self.mechanism if self.chosen is None else self.chosen[question]

    @property
    def asked(self) -> tuple[Question, ...]:
        """All questions, in the order in which their rows are published."""
        return (*totals_of(self.windows), *self.questions)

    @property
    def flip_bound(self) -> int | None:
        """W_BOUND, None where the guarantee is for none."""
        return self.w_bound if uses_w_bound(self.mechanism) and self.on_time is None else None

    def specification(self) -> dict[str, Any]:
        """The request as plain JSON values: what a stream's later calls must repeat."""
        plain = asdict(self)
        # Streams of before this was an option say nothing of it.
        if plain.pop("on_time") is not None:
            plain["on_time"] = spell_exceptions(self.on_time)
        if self.sketch == "exact":
            del plain["sketch"]
        for option in ("questions", "spend_delta", "chosen"):
            if not plain[option]:
                del plain[option]
        del plain["sample"]
        if self.sample is not None:
            plain["sample"] = {"rate": self.sample.rate, "salt": self.sample.salt}
        return {
            **plain,
            "w_bound": self.flip_bound,
            "windows": dict(self.windows),
            "shares": dict(self.shares),
            "guarantee": list(self.guarantee),
            "first": self.first.isoformat(),
        }


def request_of(specification: Mapping[str, Any]) -> Request:
    """The request that `Request.specification` wrote, apart from what a sample's salts are to be later.

    Raises:
        KeyError: it is not such a specification.
    """
    plain = dict(specification)
    sample, on_time = plain.get("sample"), plain.get("on_time")
    return Request(
        windows=plain["windows"],
        unit=plain["unit"],
        # Without effect where it is None.
        w_bound=plain["w_bound"] or DEFAULT_W_BOUND,
        guarantee=Guarantee(*plain["guarantee"]),
        mechanism=plain["mechanism"],
        first=date.fromisoformat(plain["first"]),
        horizon=plain["horizon"],
        shares=plain["shares"],
        ci_level=plain["ci_level"],
        on_time=on_time and Exceptions(*(int(part.partition("=")[2]) for part in on_time.split(","))),
        sketch=plain.get("sketch", "exact"),
        sample=sample and Sample(sample["rate"], sample["salt"]),
        questions=tuple(map(question_from, plain.get("questions", ()))),
        spend_delta=plain.get("spend_delta", False),
        chosen=plain.get("chosen"),
    )


def charged(request: Request) -> Guarantee:
    """What a ledger is charged: the guarantee of the whole release, with δ = 0 for pure noise that spends none."""
    pure = request.family.delta == "none" and not request.spend_delta
    return Guarantee(request.guarantee.epsilon, 0.0 if pure else request.guarantee.delta)


def uses_w_bound(mechanism: str) -> bool:
    """Whether a mechanism's guarantee is for a given W_BOUND; sparse-vector and adaptive-flippancy need none."""
    return mechanism == BEST_MECHANISM or family_of(mechanism).needs_w_bound


def freezes(unit: str, mechanism: str) -> bool:
    """Whether the counts of a series must leave users out after W_BOUND flips."""
    return unit == "user" and uses_w_bound(mechanism)


def spell_exceptions(exceptions: Exceptions | None) -> str | None:
    """As on the command line; None where there are none."""
    return exceptions and f"removals={exceptions.removals},late={exceptions.late}"
