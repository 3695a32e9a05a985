"""What a value that cannot be read as a day looks like. A suggestion in a message; nothing is ever read by a guess."""

import re
from collections.abc import Iterator

_NAMED = re.compile(r"unparseable (?:day|at) '(.*)', expected|(?:day|at) is ([\d.]+), expected", re.DOTALL)
_EPOCHS = ((r"-?\d{9,10}(\.\d*)?", "seconds", "s"), (r"-?\d{12,13}(\.\d*)?", "milliseconds", "ms"),
           (r"-?\d{15,16}", "microseconds", "us"))  # fmt: skip
_ORDERS = (
    (r"(\d{1,2})([/.-])(\d{1,2})\2\d{4}", ("%m{0}%d{0}%Y", "%d{0}%m{0}%Y")),
    (r"(\d{1,2})([/.-])(\d{1,2})\2\d{2}", ("%m{0}%d{0}%y", "%d{0}%m{0}%y")),
    (r"(\d{4})([/.-])(\d{1,2})\2\d{1,2}", ("%Y{0}%m{0}%d",)),
)
_TIMES = (
    (r"", ""), (r"[ T]\d{1,2}:\d\d", "%H:%M"), (r"[ T]\d{1,2}:\d\d:\d\d", "%H:%M:%S"),
    (r"[ T]\d{1,2}:\d\d:\d\d\.\d+", "%H:%M:%S.%f"), (r" \d{1,2}:\d\d ?[AaPp][Mm]", "%I:%M %p"),
    (r" \d{1,2}:\d\d:\d\d ?[AaPp][Mm]", "%I:%M:%S %p"),
)  # fmt: skip


def suggestion(fault: str) -> Iterator[str]:
    """Lines that say which date format the value in a message about a bad row looks like; none if no one is known."""
    named = _NAMED.match(fault)
    if named is not None:
        yield from looks_like(named[1] or named[2] or "")


def looks_like(value: str) -> Iterator[str]:
    """The same for the value itself."""
    for shape, words, name in _EPOCHS:
        if re.fullmatch(shape, value):
            yield f"This looks like epoch {words}: --date-format epoch-{name}"
    patterns = list(_patterns(value))
    if patterns:
        yield "This looks like " + " or ".join(f"--date-format '{pattern}'" for pattern in patterns)


def _patterns(value: str) -> Iterator[str]:
    for shape, orders in _ORDERS:
        date = re.match(shape, value)
        if date is None:
            continue
        rest = value[date.end() :]
        time = next((pattern for form, pattern in _TIMES if re.fullmatch(form, rest)), None)
        if time is None:
            continue
        first, second = int(date[1]), int(date[3])
        for order in orders:
            if (order.startswith("%m") and first > 12) or (order.startswith("%d") and second > 12):
                continue
            separator = rest[:1] if time else ""
            spaced = time if " " in rest[1:] else time.replace(" %p", "%p")
            yield order.format(date[2]) + separator + spaced
