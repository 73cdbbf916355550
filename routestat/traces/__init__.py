"""Traces of routing: the store, its rows and documents, and what is known of them.

alphabet
    Subset ↔ state: the index of k of E experts.
metadata
    Routers and other metadata of a trace.
manifest
    Schema, hashes and manifest of a store.
shards
    The files of a store, checked and read in batches.
store
    `Trace`: a store that was opened, or arrays in memory.
writer
    `TraceWriter`: writes a store shard by shard.
rows
    Plain arrays to rows of the store.
batch
    A batch of rows, and the checks that every row passes.
validation
    Checks of values from outside.
arrow_arrays
    NumPy and Arrow arrays of the same memory.
examination
    The pass that finds clusters and dummy rows.
clusters
    Which documents are independent.
dummy_rows
    Rows and layers that are no measurements.
document_rows
    Places of rows within their documents.
document_selection
    Some documents of a trace.
document_stretches
    One document cut into stretches.
locations
    Folders and URLs that a trace is read from.
parts
    Some consecutive documents of a trace.
held_columns
    Columns that stay in memory after they were read.
views
    Layers under other numbers, documents in another order.
pairing
    Common layers and documents of two traces.
importers
    Readers of other tools' files.
synthetic
    Generated traces whose distribution is known.
categorical
    Draws from categorical distributions.
token_texts
    The texts of token ids.
row_hash
    64-bit keys of rows.
number_ranges
    Whole numbers as short ranges: 0-3, 7.
interrupts
    Ctrl-C delayed until a step on disk is complete.
"""
