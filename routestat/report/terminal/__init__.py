"""Terminal summaries.

console
    Tables, titles and lines.
board
    The board of predictors.
study
    What analyze prints.
comparison
    What compare prints.
"""
