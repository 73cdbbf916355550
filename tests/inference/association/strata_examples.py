"""Strata of small dense arrays, for the tests of what is conditional on a stratum."""

import numpy as np

from routestat.counting.strata import Strata


def strata_of(cube, slots=(1, 1)):
    """Strata of a dense array ``[group, stratum, source, target]``."""
    cube = np.asarray(cube)
    group, stratum, source, target = np.nonzero(cube)
    order = np.lexsort((group, target, source, stratum))
    columns = [c[order] for c in (stratum, source, target, group)]
    n = int(cube.sum() // (slots[0] * slots[1]))
    sizes = cube.shape[1], cube.shape[2], cube.shape[3], cube.shape[0]
    return Strata(*columns, cube[group, stratum, source, target][order], *sizes, slots, n, n, "token")
