"""Questions about routing, answered from the data of the project: one file each, run by `python -m analyses.NAME`."""
