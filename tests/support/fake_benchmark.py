"""What the two official programs called benchmark_model print, by a script in their place.

The formats are those of their sources; a run takes a time by the size of the model's file.
"""

TFLITE, LITERT = "tflite", "litert"

_BEGIN = """#!/bin/sh
echo "$*" >> "$(dirname "$0")/asked"
runs=50 accelerator=cpu
for word; do
  case "$word" in
    --graph=*) graph=${word#*=};;
    --num_runs=*) runs=${word#*=};;
    --use_gpu=true) accelerator=GPU;;
    --use_{other}=true) accelerator={OTHER};;
  esac
done
echo "INFO: STARTING!"
if [ ! -f "$graph" ]; then echo "ERROR: Failed to load model $graph" >&2; exit 1; fi
us=$(( $(wc -c < "$graph") / 20 + 1000 ))
[ $accelerator = cpu ] || us=$(( us / 2 ))
"""
_PRINTS = {
    TFLITE: """
if [ $accelerator != cpu ]; then
  echo "INFO: $accelerator delegate created."
  echo "INFO: {line}"
fi
echo "INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds"
echo "INFO: count=31 first=$(( us * 3 )) curr=$us min=$us max=$(( us * 3 )) avg=$(( us + 9 )) std=7"
echo
echo "INFO: Running benchmark for at least $runs iterations and at least 0 seconds"
echo "INFO: count=$runs first=$(( us + 50 )) curr=$us min=$(( us - 20 )) max=$(( us + 90 )) \
avg=$us std=31.5 p5=$us median=$us p95=$us"
echo
echo "INFO: Inference timings in us: Init: 5685, First inference: $(( us * 3 )), \
Warmup (avg): $(( us + 9 )), Inference (avg): $us"
""",
    LITERT: """
echo "Model initialization: 123.45 ms"
echo "Warmup (first): $(( us / 500 )).00 ms"
echo "Warmup (avg): $(( us / 900 )).00 ms (3 runs)"
echo "Inference (avg): $(printf '%d.%03d' $(( us / 1000 )) $(( us % 1000 ))) ms ($runs runs)"
""",
}
_APPLIED = "Explicitly applied {} delegate, and the model graph will be "
COMPLETELY = _APPLIED + "completely executed by the delegate."
PARTIALLY = _APPLIED + "partially executed by the delegate w/ 3 delegate kernels."
_NOT_APPLIED = "Though {} delegate is explicitly applied, the model graph will not be "
NOT_AT_ALL = _NOT_APPLIED + "executed by the delegate."


def fake_benchmark(generation, said=COMPLETELY, more=""):
    """The script; ``said`` is the line about the accelerator, ``more`` what it does before all."""
    prints = _PRINTS[generation].replace("{line}", said.format("$accelerator"))
    other = {TFLITE: "nnapi", LITERT: "npu"}[generation]
    begin = _BEGIN.replace("{other}", other).replace("{OTHER}", other.upper())
    return begin + more + prints


def microseconds(size, *, on_accelerator):
    """What the script says that a run of a model's file of a size takes."""
    time = size // 20 + 1000
    return time // 2 if on_accelerator else time
