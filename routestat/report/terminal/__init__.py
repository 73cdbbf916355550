"""Terminal summaries.

console
    Tables, titles and lines.
board
    The board of predictors.
data_set
    What the data set does to predictors.
paths, structure
    Whole-depth paths; blocks, windows and specialisation.
study
    What analyze prints.
placement
    What place prints.
comparison
    What compare prints.
simulation
    What simulate prints.
"""
