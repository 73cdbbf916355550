"""Tables with one row per token and layer, or per token, layer and expert: CSV, TSV, JSON lines, Parquet.

names
    Names by which columns are recognised.
columns
    The columns by role, and ``--columns``.
layouts
    Columns recognised by names and first values.
file_plans
    How a file is read.
probing
    The plan of a file, from its beginning.
sources
    Files, folders, patterns; compressed text in blocks of lines.
folders
    Tables in folders with other files.
csv_lines
    Blocks of CSV as rows.
json_lines
    Blocks of JSON lines as rows.
parquet_rows
    Batches of Parquet as rows.
text
    Blocks of text as rows, and the line of an error.
quotes
    Quotes that are characters.
arrow_columns
    Arrow columns as integers, weights and phases.
lists
    Lists of experts in one column.
arrow_rows
    Arrow columns as rows.
rows
    Compact rows, and the checks of each.
block_reading
    The blocks of a file, read in threads.
positions
    Positions that no column gives.
document_numbering
    The rows of all files in order.
repeated_names
    Which rows of one name are documents of their own.
position_offsets
    Negative positions, and positions that begin anew.
layer_files
    Files that each hold some layers.
documents
    The documents, once all rows were read.
external_sort
    Rows in memory or in sorted temporary files.
assembling
    Rows to experts ``[token, layer, slot]``.
metadata
    What files state in comments.
imported_table
    A table, in parts for the store.
reader
    The whole reader.
preview
    What a table would be stored as.
"""
