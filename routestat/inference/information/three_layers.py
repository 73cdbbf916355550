"""Information between three consecutive layers, with intervals over groups of documents."""

import math
from dataclasses import dataclass

import numpy as np

from routestat.counting.kernels.strata import leave_out
from routestat.counting.three_layers import GroupedCells, ThreeLayers
from routestat.inference.base.estimate import Estimate, check_level, without_interval
from routestat.inference.base.jackknife import LeftOutSums, jackknife
from routestat.inference.base.special import listed_x_log_x, x_log_x
from routestat.inference.base.tables import Floats
from routestat.inference.base.units import too_few


@dataclass(frozen=True, slots=True)
class ThreeLayerInformation:
    """Information in bits between the choices x, y, z of three layers; see `three_layer_information`.

    Attributes
    ----------
    first_middle, middle_last, first_last
        I(X; Y), I(Y; Z) and I(X; Z).
    given_middle
        I(X; Z | Y): what the first layer adds to the middle one about the last.
    interaction
        I(X; Z) - I(X; Z | Y). Positive where the layers are redundant: what X shares with Z is shared by Y too.
        Negative where they are synergistic: X and Y together determine more of Z than each by itself.
    total_correlation
        H(X) + H(Y) + H(Z) - H(X, Y, Z) = I(X; Y) + I(Y; Z) + I(X; Z | Y).
    """

    first_middle: Estimate
    middle_last: Estimate
    first_last: Estimate
    given_middle: Estimate
    interaction: Estimate
    total_correlation: Estimate


def three_layer_information(layers: ThreeLayers, level: float = 0.95) -> ThreeLayerInformation:
    """Estimate the information between three layers in the state view, centred on the delete-group jackknife.

    All six figures are sums of c ln c over the joint table and its margins, so that the same replicates without each
    group give the value and the error of each, and sums and differences of them stay exact.

    Parameters
    ----------
    layers
        Of the state view. Groups are independent, tokens within one need not be.
    level
        Of confidence; Student's t (see `t_quantile`).

    References
    ----------
    McGill (1954), Multivariate information transmission. Psychometrika 19; Watanabe (1960), IBM J. Res. Dev. 4.
    """
    check_level(level)
    size = layers.tokens.astype(np.float64)
    n = size.sum()
    if max(layers.slots) > 1:
        return _all(
            without_interval(
                math.nan,
                len(size),
                "in the expert view the information between three layers is not estimated (no single state per token)",
            )
        )
    if not n:
        return _all(without_interval(math.nan, 0, "no token has a choice at all three layers"))
    first, middle, last = (_sums(part, size) for part in (layers.first, layers.middle, layers.last))
    pair, step, skip = (
        _sums(part, size) for part in (layers.first_middle, layers.middle_last, layers.first_last)
    )
    every, tokens = _sums(layers.cells, size), LeftOutSums(float(x_log_x(n)), x_log_x(n - size))

    def estimate(of: LeftOutSums) -> Estimate:
        unit = math.log(2.0)
        plugin = of.whole / n / unit
        if why := too_few(size):
            return without_interval(math.nan, len(size), why, plugin)
        return jackknife(plugin, of.left_out / (n - size) / unit, size, level)

    direct = skip - first - last + tokens
    given = every + middle - pair - step
    return ThreeLayerInformation(
        estimate(pair - first - middle + tokens),
        estimate(step - middle - last + tokens),
        estimate(direct),
        estimate(given),
        estimate(direct - given),
        estimate(every - first - middle - last + tokens + tokens),
    )


def _sums(cells: GroupedCells, size: Floats) -> LeftOutSums:
    change = np.zeros(len(size))
    whole = leave_out(cells.keys, cells.group, cells.count, listed_x_log_x(), change)
    return LeftOutSums(whole, whole + change)


def _all(nothing: Estimate) -> ThreeLayerInformation:
    return ThreeLayerInformation(*(nothing,) * 6)
