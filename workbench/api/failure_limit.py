"""How often a wrong key may be given: by one address, and by all together."""

from __future__ import annotations

import functools
import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MOST_ADDRESSES = 10_000
TRUSTED_SECONDS = 3600.0


@dataclass(frozen=True)
class FailureRate:
    """So many at once, and one more every so many seconds."""

    burst: int
    seconds: float


OF_ONE = FailureRate(burst=10, seconds=6.0)
OF_ALL = FailureRate(burst=100, seconds=1.0)


class FailureLimit:
    """Counts wrong keys. An address is blocked while it has none left; all are while none is left for all together.

    An address from which the right guessable key came within an hour is not blocked by what others do. Both tables are
    bounded: the address that failed, or was right, longest ago is forgotten first.

    Args:
        clock: seconds since some moment; never runs backwards.
        of_one: what one address may do.
        of_all: what all addresses may do together.
    """

    def __init__(self, clock: Callable[[], float], of_one: FailureRate = OF_ONE, of_all: FailureRate = OF_ALL) -> None:
        self._clock = clock
        self._of_one = of_one
        self._of_all = of_all
        # When as many wrong keys may be given as at first: by each address, and by all.
        self._recovered: OrderedDict[str, float] = OrderedDict()
        self._all_recovered = -math.inf
        self._trusted: OrderedDict[str, float] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds until a guess from this address is looked at; 0 where it is now."""
        now, whose = self._clock(), network(address)
        waits = [_wait(self._recovered.get(whose, -math.inf), now, self._of_one)]
        if self._trusted.get(whose, -math.inf) <= now:
            waits.append(_wait(self._all_recovered, now, self._of_all))
        return max(waits)

    def note_failure(self, address: str) -> None:
        """Count a wrong key."""
        now, whose = self._clock(), network(address)
        later = max(self._recovered.pop(whose, now), now) + self._of_one.seconds
        _put(self._recovered, whose, later)
        self._all_recovered = max(self._all_recovered, now) + self._of_all.seconds

    def note_right(self, address: str) -> None:
        """Remember that the right guessable key came from this address."""
        _put(self._trusted, network(address), self._clock() + TRUSTED_SECONDS)


@functools.lru_cache(maxsize=1024)
def network(address: str) -> str:
    """What one caller has of addresses: a single one of IPv4, and 64 bits' worth of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


def _wait(recovered: float, now: float, rate: FailureRate) -> float:
    return max(0.0, recovered - now - (rate.burst - 1) * rate.seconds)


def _put(table: OrderedDict[str, float], address: str, until: float) -> None:
    table[address] = until
    table.move_to_end(address)
    if len(table) > MOST_ADDRESSES:
        table.popitem(last=False)
