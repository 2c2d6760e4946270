#!/usr/bin/env bash
# Everything that wants a GPU, in under eight minutes: run from the root of a checkout, on a machine with one.
#   benchmarks/on_gpu.sh [FOLDER FOR THE FIGURES] [bits] [network] [rest] [fits] [training]
# A Python whose JAX sees the GPU is used as it is; otherwise a virtual environment is made.
set -euo pipefail
out="${1:-gpu-figures}"
shift || true
steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(bits network rest fits training)
mkdir -p "$out"
export PYTHONPATH=".${PYTHONPATH:+:$PYTHONPATH}"
if ! python3 -c 'import click, msgspec, jax; jax.devices("gpu")' 2> "$out/python.txt"; then
    python3 -m venv "$out/.venv"
    # shellcheck disable=SC1091
    source "$out/.venv/bin/activate"
    pip install --quiet . 'jax[cuda12]' || pip install --quiet . 'jax[cuda13]'
fi
# Choosing the fastest kernel for each of many small matrix products takes minutes and gains little.
export XLA_FLAGS="${XLA_FLAGS:---xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false}"

run() { # SECONDS COMMAND...
    timeout "$@" 2>&1 | tee -a "$out/log.txt" || echo "failed or out of time: ${*:2}" | tee -a "$out/log.txt"
}
bits() {
    JAX_PLATFORMS=cpu XLA_FLAGS='' run 60 python3 -m benchmarks.evidence_speed --digest --out "$out/cpu-bits.json"
    run 60 python3 -m benchmarks.evidence_speed --digest --out "$out/gpu-bits.json"
    python3 - "$out" <<'PY' | tee -a "$out/log.txt"
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
digests = {n: json.loads((folder / f"{n}-bits.json").read_text())["digest of 10,000"] for n in ("cpu", "gpu")}
print("the same bits on CPU and GPU:", digests["cpu"] == digests["gpu"], digests)
PY
}
network() { run 60 python3 -m benchmarks.evidence_speed --out "$out/network.json"; }
rest() { run 60 python3 -m benchmarks rest_scoring --out "$out/rest.json"; }
fits() { run 150 python3 -m benchmarks.evidence_speed --most 1024 --fits --out "$out/fits.json"; }
training() { run 150 python3 -m benchmarks.evidence_speed --most 1 --training --out "$out/training.json"; }

for step in "${steps[@]}"; do
    echo "== $step" | tee -a "$out/log.txt"
    "$step"
done
rm -rf "$out/.venv"
