#!/usr/bin/env bash
# Everything that wants a GPU, in under eight minutes: run from the root of a checkout, on a machine with one.
#   benchmarks/on_gpu.sh [FOLDER FOR THE FIGURES]
set -euo pipefail
out="${1:-gpu-figures}"
mkdir -p "$out"
python3 -m venv "$out/.venv"
# shellcheck disable=SC1091
source "$out/.venv/bin/activate"
pip install --quiet . 'jax[cuda12]' || pip install --quiet . 'jax[cuda13]'
export PYTHONPATH=.
step() { echo "== $1"; shift; timeout "$1" "${@:2}" 2>&1 | tee -a "$out/log.txt" || echo "failed or out of time: $*"; }
step "bits on the CPU" 60 env JAX_PLATFORMS=cpu python -m benchmarks.evidence_speed --digest --out "$out/cpu-bits.json"
step "bits on the GPU" 60 python -m benchmarks.evidence_speed --digest --out "$out/gpu-bits.json"
python - "$out" <<'PY' | tee -a "$out/log.txt"
import json, pathlib, sys
digests = {n: json.loads((pathlib.Path(sys.argv[1]) / f"{n}-bits.json").read_text())["digest of 10,000"] for n in ("cpu", "gpu")}
print("the same bits on CPU and GPU:", digests["cpu"] == digests["gpu"], digests)
PY
step "network, training" 120 python -m benchmarks.evidence_speed --training --out "$out/network.json"
step "posed fits" 150 python -m benchmarks.evidence_speed --most 1024 --fits --out "$out/fits.json"
step "rest mode" 60 python -m benchmarks rest_scoring --out "$out/rest.json"
rm -rf "$out/.venv"
