"""Run a Mixture-of-Experts model and record which experts were executed, token by token.

Needs torch and transformers 5 (``pip install routestat[capture]``).

The command: `command` runs `settings` → `inputs` → `loop` → `store`; `options` and `command_line` are shared with the
packages `intervene` (force a choice and measure the effect) and `train` (train a small Mixtral).

========================  ==========================================================================
``model``                 load a model; refuse what cannot be recorded
``routers``               find the routers of a model
``router_outputs``        model families whose routers differ from the common one
``hooks``                 `Recorder`: the hooks that record what the experts execute
``steps``                 one recorded forward pass
``positions``             which cell of a batch is which token of which document
``forward``               `Runner`: prefill, generation and replay of one batch
``lookahead``             what the gates of later layers would choose
``corpus``                documents from files and data sets, and their tokens
``loop``                  documents → batches → recorded rows → the store
``store``                 the trace on disk, saved at intervals and resumable
``provenance``            metadata of the trace, and the options that a resumed run has to share
``energy``                joules and seconds
``progress``              progress of a run on stderr
``summary``               expert shares of a finished capture
========================  ==========================================================================
"""
