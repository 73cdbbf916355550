"""What the readers of other tools' files share.

=================  =====================================================
file               content
=================  =====================================================
options            `ImportOptions`: what the caller states of a file
documents          `SourceDocument`, and documents joined into one trace
assembly           `ImportedTrace`: rows checked, ready for the store
requests           requests of serving engines joined
checks             layers, ids and repeats
placeholders       rows that the store cannot hold: refused or dropped
missing_markers    ids that mark missing choices, ids that were cut off
array_axes         which axis of an array is which
array_files        arrays from NumPy files, bytes, base64 and lists
torch_files        files of torch.save
safetensors_files  files of safetensors
json_files         JSON and JSON Lines
source_files       the files of a source
logit_arrays       router logits: axes and sequences
logit_names        router logits: names of arrays
ranks              files of several ranks joined
failed_records     records of failed requests
misspelt_names     unknown names that resemble known ones
counts_only        files that hold counts and no choices
counts_text        the same for JSON and tables of text
messages           values and names in error messages
=================  =====================================================
"""
