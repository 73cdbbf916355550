#!/bin/bash
#OAR -n capture
#OAR -l gpu=1,walltime=04:00:00
#OAR --checkpoint 120
#OAR --signal 15
#OAR -O capture-%jobid%.log
#OAR -E capture-%jobid%.log
# Make it executable; submit from the project's folder, again if the time was not enough: it goes on where it stopped.
set -eu

export HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-0}
# exec, so that the scheduler's warning reaches the capture and not its shell.
exec .venv-capture/bin/python -m capture "${MODEL:-mistralai/Mixtral-8x7B-v0.1}" --load-in-4bit \
  --dataset basicv8vc/SimpleQA --column problem --max-new-tokens 50 \
  --batch-size 32 --out "${OUT:-traces/mixtral-simpleqa}" --resume
