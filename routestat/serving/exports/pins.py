"""The experts to keep in fast memory, in a plain JSON of our own, for engines whose reader you write yourself."""

from collections.abc import Mapping

from routestat.errors import RoutestatError
from routestat.serving.exports.exported import Exported
from routestat.serving.exports.json_rows import json_rows

#: Rises when a reader of an earlier version would misread the file.
VERSION = 1


def pins(exported: Exported) -> Mapping[str, bytes]:
    """Return the pinned experts of each router, the most used first.

    Raises
    ------
    RoutestatError
        If there are none.
    """
    if exported.pinned is None:
        raise RoutestatError("pins: expected experts to pin, got none; name a capacity by --pin")
    routers = [
        {
            "layer": router.layer,
            "router": router.name,
            "n_experts": router.n_experts,
            "experts": pinned.tolist(),
        }
        for router, pinned in zip(exported.routers, exported.pinned, strict=True)
    ]
    content = f'{{"format": "routestat-pins", "version": {VERSION}, "routers": {json_rows(routers)}}}\n'
    return {"pins.json": content.encode()}
