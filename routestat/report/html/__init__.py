"""Pages, filled from the templates in ``templates``.

``page``        what both pages share: templates, numbers, figures
``study``       the page of one trace
``comparison``  the page of a comparison
"""
