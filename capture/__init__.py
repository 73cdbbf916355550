"""Run a Mixture-of-Experts model and record which experts were executed, token by token.

Needs torch and transformers 5 (``pip install routestat[capture]``).

command
    The command; it runs `settings` → `inputs` → `loop` → `store`.
command_line, options
    What the three commands share: what has to be installed, exit codes, options.
settings
    Options of a run over documents, and of what is recorded.
inputs
    Model and documents of a run, from its options.
model
    Load a model; refuse what cannot be recorded.
routers
    Find the routers of a model.
router_outputs
    Model families whose routers differ from the common one.
hooks
    `Recorder`: the hooks that record what the experts execute.
steps
    One recorded forward pass.
positions
    Which cell of a batch is which token of which document.
forward
    `Runner`: prefill, generation and replay of one batch.
lookahead
    What the gates of later layers would choose.
corpus
    Documents from files and data sets, and their tokens.
loop
    Documents → batches → recorded rows → the store.
store
    The trace on disk, saved at intervals and resumable.
provenance
    Metadata of the trace, and the options that a resumed run has to share.
energy
    Joules and seconds.
progress_display
    Progress of a run on stderr.
summary
    Expert shares of a finished capture.
intervene
    Force a choice and measure the effect.
train
    Train a small Mixtral.
"""
