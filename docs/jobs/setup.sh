#!/bin/sh
# Make the environment for captures on a GPU node: sh docs/jobs/setup.sh [FOLDER]
# Run it once, from the project's folder, on a node with internet.
set -eu

folder=${1:-.venv-capture}
python3 -c 'import sys; sys.exit("error: Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --upgrade pip
# torch first: its plain build carries CUDA on Linux. TORCH_INDEX names another index, such as an older CUDA's.
"$folder/bin/pip" install --quiet ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
"$folder/bin/pip" install --quiet -e '.[capture]' bitsandbytes
"$folder/bin/python" - <<'PY'
import torch

cards = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
print("cards:", ", ".join(cards) or "none on this node (fine on a login node)")
PY
echo "ready: $folder/bin/python -m capture --help"
