"""What the readers of other tools' files share.

options
    `ImportOptions`: what the caller states of a file.
documents
    `SourceDocument`, and documents joined into one trace.
assembly
    `ImportedTrace`: rows checked, ready for the store.
requests
    Requests of serving engines joined.
checks
    Layers, ids and repeats.
placeholders
    Rows that the store cannot hold: refused or dropped.
missing_markers
    Ids that mark missing choices, ids that were cut off.
array_axes
    Which axis of an array is which.
array_files
    Arrays from NumPy files, bytes, base64 and lists.
torch_files
    Files of torch.save.
safetensors_files
    Files of safetensors.
json_files
    JSON and JSON Lines.
source_files
    The files of a source.
logit_arrays
    Router logits: axes and sequences.
logit_names
    Router logits: names of arrays.
ranks
    Files of several ranks joined.
failed_records
    Records of failed requests.
misspelt_names
    Unknown names that resemble known ones.
counts_only
    Files that hold counts and no choices.
counts_text
    The same for JSON and tables of text.
messages
    Values and names in error messages.
"""
