"""Terminal summaries.

console
    Tables, titles and lines.
board
    The board of predictors.
data_set
    What the data set does to predictors.
paths
    Whole-depth paths.
study
    What analyze prints.
comparison
    What compare prints.
"""
