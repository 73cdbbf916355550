"""Pages of the report.

page
    What both pages share: templates, numbers, figures.
drawing
    Pictures drawn by a process of their own.
study
    The page of one trace.
comparison
    The page of a comparison.
transition_maps
    Heatmaps of transitions, drawn in the page itself.
cell_pictures
    Tables of numbers as small PNGs in data addresses.
templates
    Jinja templates: one file per section of the page.
"""
