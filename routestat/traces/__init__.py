"""Traces of routing: the store, its rows and documents, and what is known of them.

==================  ======================================================
file                content
==================  ======================================================
alphabet            subset ↔ state: the index of k of E experts
metadata            routers and other metadata of a trace
manifest            schema, hashes and manifest of a store
shards              the files of a store, checked and read in batches
store               `Trace`: a store that was opened, or arrays in memory
writer              `TraceWriter`: writes a store shard by shard
rows                plain arrays to rows of the store
batch               a batch of rows, and the checks that every row passes
validation          checks of values from outside
examination         the pass that finds clusters and dummy rows
clusters            which documents are independent
dummy_rows          rows and layers that are no measurements
document_rows       places of rows within their documents
document_selection  some documents of a trace
document_stretches  one document cut into stretches
views               layers under other numbers, documents in another order
pairing             common layers and documents of two traces
importers           readers of other tools' files
synthetic           generated traces whose distribution is known
categorical         draws from categorical distributions
row_hash            64-bit keys of rows
number_ranges       whole numbers as short ranges: 0-3, 7
interrupts          Ctrl-C delayed until a step on disk is complete
==================  ======================================================
"""
