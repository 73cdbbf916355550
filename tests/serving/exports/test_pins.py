"""The lists of pinned experts, read back."""

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.serving.exports.registry import export_of
from tests.serving.exports.cases import TWO_IN_ONE, case, with_routers
from tests.serving.exports.readers import Model, read_pins


def test_the_order_of_use_is_kept_for_each_router():
    lists = (np.array([7, 0, 3]), np.array([], np.int64))
    exported = with_routers(TWO_IN_ONE, 2, pinned=lists)
    content = export_of("pins").files(exported)["pins.json"]
    assert read_pins(content, Model(2, 8, (1,))) == {"L01a": [7, 0, 3], "L01b": []}


def test_no_lists_are_refused():
    with pytest.raises(RoutestatError, match="expected experts to pin, got none; name a capacity by --pin"):
        export_of("pins").files(case()[0])
