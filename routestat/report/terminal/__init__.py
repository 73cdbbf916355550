"""Terminal summaries.

console
    Tables, titles and lines.
study
    What analyze prints.
comparison
    What compare prints.
"""
