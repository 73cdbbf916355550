"""Terminal summaries.

``console``     tables, titles and lines
``study``       what analyze prints
``comparison``  what compare prints
"""
