"""Long tables: one row per token and layer, or per token, layer and expert, as CSV, TSV, JSON lines or Parquet.

=============  ======================================================================================
layouts        which column means what: ``--columns``, or told from the names and the first rows
sources        files, globs and folders; compressed streams; blocks of whole lines, with their numbers
text           blocks of CSV and TSV, and of JSON lines, as columns of integers
parquet_rows   the same from Parquet
rows           the compact rows that all of these give
stream         documents numbered, positions counted, joins seen, in the order of the file
spilling       rows beyond a budget, sorted and kept in temporary files
assembling     rows → experts ``[token, layer, slot]``
reader         the whole way, in one part or in several where memory would not hold it
show           what a file would be taken for
=============  ======================================================================================
"""
