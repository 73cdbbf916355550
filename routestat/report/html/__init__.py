"""Pages of the report.

page
    What both pages share: templates, numbers, figures.
drawing
    Pictures drawn by a process of their own.
study
    The page of one trace.
prediction
    The section on prediction.
curve_picture
    The curve of experts fetched against the share present.
curve_codes
    Curves as short text.
reliability
    Curves of calibration.
placement
    The page of placements.
comparison
    The page of a comparison.
simulation
    The page of a simulation.
windows
    The section on frequent windows.
transition_maps
    Heatmaps of transitions, drawn in the page itself.
cell_pictures
    Tables of numbers as small PNGs in data addresses.
templates
    Jinja templates: one file per section of the page.
"""
