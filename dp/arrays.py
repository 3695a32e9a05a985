"""Types of arrays that everything uses; shapes are said where an array is."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
