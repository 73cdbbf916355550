"""Train a small Mixtral from local text on a processor, to have a trained router whose routing can be recorded.

command
    The command.
recipe
    Shape, initial weights, losses, optimizer, learning rate.
data
    Tokenizer, training text and held-out documents.
batching
    Rows of tokens for every step.
loop
    The steps, in one process or several.
processes
    The process group, and interruption by signals.
checkpoint
    Weights, optimizer moments and progress on disk.
loss_curve
    ``loss.csv`` and ``loss.png``.
evaluation
    Bits per byte on held-out text, a bigram model, the experts' load.
training_record
    ``training.json``: options and results.
model_card
    The model card that states the results.
progress_display
    Progress of the training on stderr.
"""
