"""Independent noise on every tick: the strategy is the identity.

It is the right choice when one protected change touches one tick (DAU, user-day) and the baseline elsewhere: its error
grows like the square root (Gaussian) or linearly (Laplace) in the number of ticks that one change can touch.
Dwork, McSherry, Nissim, Smith, "Calibrating noise to sensitivity in private data analysis", 2006.
"""

from __future__ import annotations

from dp.mechanisms.toeplitz import ToeplitzStrategy
from dp.units import ProtectedClass


def strategy(protected: ProtectedClass) -> ToeplitzStrategy:
    """The identity, whatever the class."""
    return ToeplitzStrategy(())
