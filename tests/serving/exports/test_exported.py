"""Parts of an export that do not belong together are refused before a file is written."""

from dataclasses import replace

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.serving.exports.exported import Exported
from tests.serving.exports.cases import case, steps_of, with_routers


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"n_hidden_layers": 3},
            "expected more hidden layers than the last layer of the trace, which is 3 .* got 3",
        ),
        ({"moe_layers": (1, 2)}, "they lack 3; give the configuration of the traced model"),
        ({"moe_layers": (1, 2, 3, 4)}, "among the 4 of the model, got 4"),
        ({"moe_layers": (1, 3, 2)}, "ascending order, each once"),
        ({"fast_layers": (0, 1)}, "expected layers with experts to keep on the device, got 0"),
        ({"loads": ()}, r"a count for every expert of every router, got lengths \[\]"),
        ({"loads": (np.arange(7),) * 3}, r"got lengths \[7, 7, 7\]"),
        ({"loads": (-np.arange(8),) * 3}, "found a negative one"),
        ({"placement": case(16)[0].placement}, "a placement of the exported routers, got one of others"),
        ({"pinned": (np.array([1]),)}, "a list of experts for each router, got 1 lists"),
        ({"pinned": (np.array([1, 1]),) * 3}, "L01: expected different experts of 8"),
        ({"pinned": (np.array([8]),) * 3}, "L01: expected different experts of 8"),
        ({"steps": steps_of([2])}, "the tokens of the exported routers, got those of others"),
        ({"routers": ()}, "expected one router or more"),
    ],
)
def test_what_does_not_belong_together_is_refused(change, words):
    with pytest.raises(RoutestatError, match=words) as caught:
        replace(case()[0], **change)
    assert "\n" not in str(caught.value)


def test_layers_that_were_not_traced_may_be_kept_on_the_device():
    exported = replace(case()[0], moe_layers=(0, 1, 2, 3), fast_layers=(0,))
    assert exported.fast_layers == (0,)


def test_a_trace_of_loads_alone_is_enough():
    assert isinstance(with_routers(case()[0].routers, 4), Exported)
