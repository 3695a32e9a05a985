"""The literal list of sketches that every law is tested on.

Adding a sketch is one line in `INSTANCES`: its name in `dp.sketches.SKETCHES`, a design that is small (so that some
hundred users overflow it, where it can overflow), and what the laws cannot read from its family:

* `ordered`: the estimate depends on the order in which users came, until the sketch is merged;
* `canonical`: equal sets give equal bytes, at least once merged;
* `zero`: an empty sketch counts exactly 0;
* `self_contained`: the bytes tell their design, so that another design refuses them;
* `pickable`: a set of fewer than so many users is removed and added back without loss (None: any set).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dp.sketches import SKETCHES, Keys, Sketch, SketchDesign, SketchFamily
from dp.sketches.bitmap import Bitmap
from dp.sketches.cpc import Cpc
from dp.sketches.exact import Exact
from dp.sketches.fixed_rate import FixedRate
from dp.sketches.fm import FlajoletMartin
from dp.sketches.gf2 import gf2
from dp.sketches.hll import Hll
from dp.sketches.kmv import Kmv
from dp.sketches.order_invariant import OrderInvariant
from dp.sketches.sfm import sfm
from dp.sketches.theta import Theta

SALT = bytes(range(16))


class Instance(NamedTuple):
    """One sketch with its parameters; `other` is the same kind of sketch with others, if there are any to choose."""

    name: str
    design: SketchDesign
    other: SketchDesign | None
    ordered: bool = False
    canonical: bool = True
    zero: bool = True
    self_contained: bool = True
    pickable: int | None = None

    @property
    def family(self) -> SketchFamily:
        """What it can do."""
        return SKETCHES[self.name]

    def keys(self, count: int, seed: int) -> Keys:
        """So many different users, unlike those of any other seed; shape (count,)."""
        random = np.random.default_rng(seed)
        if self.family.keys == "number":
            # The seed picks a range of its own, in which neighbours share containers.
            return random.choice(2**20, count, replace=False).astype(np.int64) + seed * 2**20
        return random.integers(-(2**63), 2**63, count)

    def sketch(self, keys: Keys) -> Sketch:
        """A sketch of these users."""
        return self.design.empty().add(keys)

    def __str__(self) -> str:
        return self.name


INSTANCES = (
    Instance("exact", Exact(), None),
    Instance("bitmap", Bitmap(), None),
    Instance("fixed-rate", FixedRate(0.25), FixedRate(0.125), self_contained=False),
    Instance("kmv", Kmv(64), Kmv(32)),
    Instance("theta", Theta(7), Theta(8), self_contained=False, pickable=128),
    Instance("hll", Hll(7), Hll(8), ordered=True, canonical=False),
    Instance("cpc", Cpc(7), Cpc(8), ordered=True),
    Instance("sfm", sfm(1.0, 5), sfm(1.0, 6)),
    Instance("gf2", gf2(1.0, 5), gf2(1.0, 6)),
    Instance("fm", FlajoletMartin(0.1, SALT, 64), FlajoletMartin(0.1, SALT, 128), zero=False),
    Instance("order-invariant", OrderInvariant(1.0, SALT, 6), OrderInvariant(1.0, SALT, 7), zero=False),
)
