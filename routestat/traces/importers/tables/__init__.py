"""Long tables: one row per token and layer, or per token, layer and expert, as CSV, TSV, JSON lines or Parquet.

=============  ======================================================================================
names          by which columns are recognised
layouts        which column means what: ``--columns``, or told from the names and the first values
probing        the plan of a file, from its beginning
sources        files, folders and patterns; compressed streams; blocks of whole lines
text           blocks of lines as rows: ``csv_lines`` and ``json_lines``; ``parquet_rows`` likewise
rows           compact rows, the same from all kinds: ``table_rows``, ``arrow_columns``, ``lists``
stream         rows in the order of the files: documents numbered, ``positions`` counted, joins seen
documents      what the documents are once all rows were seen; ``separating``
spilling       rows beyond a budget of memory, sorted and kept in temporary files
assembling     rows → experts ``[token, layer, slot]``
table          the parts of a table, ready for the store; ``facts`` of comments
reader         all of it
show           what a file would be taken for
=============  ======================================================================================
"""
