"""Metadata: names of routers, and routers that cannot be."""

import pytest

from routestat import Router
from routestat.errors import TraceError


@pytest.mark.parametrize("name", ["../x", "L00.top1", "a b", "<b>", "a/b"])
def test_a_router_s_name_cannot_be_a_path_or_a_column_of_another(name):
    with pytest.raises(TraceError, match="a router's name"):
        Router(0, 8, 2, name)


def test_a_router_whose_tables_would_never_be_done_is_refused():
    with pytest.raises(TraceError, match="top_k 65532 of 65534 experts leaves out almost none"):
        Router(0, 65534, 65532)
