"""python -m routestat.place TRACE --devices 8: placements and pin lists that engines load."""
