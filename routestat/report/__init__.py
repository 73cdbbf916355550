"""Reports: findings as records, figures, pages and terminal summaries; nothing is computed here.

records
    results.json and CSV tables.
figures
    Figures, drawn with matplotlib.
html
    Pages.
terminal
    What the commands print.
placement_sentences
    What placements and pins gain, in sentences.
sentences, path_sentences, structure_sentences
    The memory, whole-depth paths, and blocks, windows and specialisation in sentences.
simulation_sentences, simulation_main
    A simulation in sentences; the setting that they are about.
cautions
    Marks beside numbers that have a caution.
numbers
    Numbers, intervals and counts as text.
quantities
    Bytes and seconds as text.
families
    Colours and dashes of families of predictors.
names
    Names of layers and states in pictures.
"""
