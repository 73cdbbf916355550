"""Train a small Mixtral from local text on a processor, to have a trained router whose routing can be recorded.

========================  ==========================================================================
``recipe``                shape, initial weights, losses, optimizer, learning rate
``data``                  tokenizer, training text and held-out documents
``batching``              rows of tokens for every step
``loop``                  the steps, in one process or several
``processes``             the process group, and interruption by signals
``checkpoint``            weights, optimizer moments and progress on disk
``loss_curve``            ``loss.csv`` and ``loss.png``
``evaluation``            bits per byte on held-out text, a bigram model, the experts' load
``training_record``       ``training.json``: options and results
``model_card``            the model card that states the results
``progress``              progress of the training on stderr
========================  ==========================================================================
"""
