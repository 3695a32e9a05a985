"""What a release promises, in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from dp.release.request import Request, charged, freezes, uses_w_bound


def protected(request: Request) -> str:
    """Whom the guarantee protects, in plain words."""
    if request.unit == "user":
        everything = "everything that one user ever does"
        if request.on_time is not None:
            removals, late = request.on_time
            return (
                f"{everything} on the day itself and for good, with at most {removals} removals and {late} late "
                "days (activity before the first tick counts as one of them); nobody is frozen"
            )
        if freezes(request.unit, request.mechanism):
            return f"{everything}, a user being frozen after {request.w_bound} changes of presence"
        if request.mechanism == "sparse-vector":
            return f"{everything}, however often the user's presence changes; nobody is frozen"
        return f"{everything}, a user being frozen after as many changes of presence as the rows say (W_BOUND)"
    change = "one user's activity on one day with its later retraction"
    if uses_w_bound(request.mechanism):
        # A run begins and ends, so that an odd number of changes has the class of one more.
        most = request.w_bound + request.w_bound % 2
        return f"{change}, as long as that changes the user's presence at most {most} times"
    return f"{change}, however often that changes the user's presence"


READING = (
    "Activity that is reported on time changes it 2 times, also if all of the user's activity is erased later; each "
    "time that the user takes back or reports late another day within the window may add 2. "
    "How many user-days need more is for the operator to see: dpdau exact --protection."
)
"""How to read the promise of unit user-day (docs/guarantees.md, section 1.2)."""


def promise(request: Request) -> str:
    """In plain words: what is promised to whom, and how to read it."""
    epsilon, delta = charged(request)
    if request.horizon is None:
        span = "however many days are published"
    else:
        span = "for one day" if request.horizon == 1 else f"over all {request.horizon} days together"
    said = [f"Promised: ({epsilon:g}, {delta:g})-differential privacy {span}, for {protected(request)}."]
    if request.unit == "user-day" and uses_w_bound(request.mechanism):
        said.append(READING)
    return " ".join([*said, *_of_questions(request)])


def _of_questions(request: Request) -> Iterator[str]:
    """What must be known of calendar cells and breakdowns to read the promise (docs/guarantees.md, section 18)."""
    if request.unit == "user-day" and any(question.cell.window is None for question in request.questions):
        yield "A week or a month is published once, so that a user-day changes it once, whatever happens to it later."
    by_name = {question.breakdown.name: question.breakdown for question in request.questions if question.breakdown}
    for name, breakdown in by_name.items():
        if breakdown.kind == "any":
            segments = "segment" if breakdown.most == 1 else "segments"
            yield f"By {name}, a user-day counts in its first {breakdown.most} {segments} to arrive."
        if breakdown.kind != "fixed" and freezes(request.unit, request.mechanism):
            yield f"By {name}, the changes of presence in all segments together are bounded."
        if breakdown.kind == "fixed" and request.unit == "user-day":
            yield f"By {name}, what the table of users says of a user is taken as known and is not protected."
