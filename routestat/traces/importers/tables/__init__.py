"""Tables with one row per token and layer, or per token, layer and expert: CSV, TSV, JSON lines, Parquet.

================  ============================================================
file              content
================  ============================================================
names             names by which columns are recognised
columns           the columns by role, and ``--columns``
layouts           columns recognised by names and first values
file_plans        how a file is read
probing           the plan of a file, from its beginning
sources           files, folders, patterns; compressed text in blocks of lines
folders           tables in folders with other files
csv_lines         blocks of CSV as rows
json_lines        blocks of JSON lines as rows
parquet_rows      batches of Parquet as rows
text              blocks of text as rows, and the line of an error
quotes            quotes that are characters
arrow_columns     Arrow columns as integers, weights and phases
lists             lists of experts in one column
arrow_rows        Arrow columns as rows
rows              compact rows, and the checks of each
block_reading            the blocks of a file, read in threads
positions         positions that no column gives
document_numbering            the rows of all files in order
repeated_names          which rows of one name are documents of their own
position_offsets  negative positions, and positions that begin anew
layer_files       files that each hold some layers
documents         the documents, once all rows were read
external_sort         rows in memory or in sorted temporary files
assembling        rows to experts ``[token, layer, slot]``
metadata          what files state in comments
imported_table             a table, in parts for the store
reader            the whole reader
preview           what a table would be stored as
================  ============================================================
"""
