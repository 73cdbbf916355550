"""Plain tests and effect sizes against what R prints, to ten digits."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from routestat.inference.association.independence import independence

PRINTED = json.loads((Path(__file__).parents[2] / "oracle" / "assocstats.json").read_text())


@pytest.mark.parametrize("name", [name for name in PRINTED if name != "_"])
def test_independence_of_tokens_as_in_vcd(name: str) -> None:
    printed = PRINTED[name]
    shape = tuple(printed["shape"])
    table = np.array(printed["table"], dtype=int).reshape(shape)
    r = independence(table)
    assert (r.g, r.dof, r.p_g) == pytest.approx(printed["likelihood_ratio"], rel=1e-10, abs=0)
    assert (r.chi2, r.dof, r.p_chi2) == pytest.approx(printed["pearson"], rel=1e-10, abs=0)
    assert r.cramers_v == pytest.approx(printed["cramer"][0], rel=1e-10)
    assert r.mi_bits == pytest.approx(
        printed["likelihood_ratio"][0] / (2 * table.sum() * math.log(2)), rel=1e-10
    )
    for ours, theirs in (
        ("expected", "expected"),
        ("residuals", "residuals"),
        ("adjusted_residuals", "stdres"),
    ):
        np.testing.assert_allclose(
            getattr(r, ours), np.reshape(printed[theirs], shape), rtol=1e-10, atol=1e-12, err_msg=ours
        )
