"""Pages of the report.

page
    What both pages share: templates, numbers, figures.
study
    The page of one trace.
comparison
    The page of a comparison.
templates
    Jinja templates: one file per section of the page.
"""
