"""Every command with all that it needs, for tests that try something with each."""

import json
import shutil
from types import FunctionType

import onnx
from onnx import TensorProto, helper

#: The commands with all that they need; ``collect`` reaches its first visit, ``search`` its first
#: step, the others their end.
CALLS = {
    "android": "setup {}/none.so",
    "devices": "",
    "farm": "keys --keys {}/keys",
    "doctor": "",
    "collect": "--space proxyless --resolution 32 -n 1 --store {}/new.db -q",
    "profile": "{}/m.onnx --shape 1,3,8,8",
    "compare": "{}/m.onnx {}/m.onnx --shape 1,3,8,8",
    "fusion": "-o {}/rules.json -q",
    "import": "{}/runs.json --store {}/runs.db",
    "history": "{}/runs.db --model a",  # once it was imported
    "export": "{}/lat.db --csv {}/t.csv",
    "datasets": "",
    "zoo": "squeezenet-1.1",
    "train": "{}/lat.db -o {}/new.pack --predictor linear --no-compare",
    "transfer": "{}/lat.db --from proxyless-cpu-ort1",
    "predict": "1,0,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5",
    "merge": "{}/lat.db {}/other.db -o {}/merged.db",
    "packs": "",
    "lookup-table": "proxyless-cpu-ort1 -o {}/t.csv",
    "search": "--pack proxyless-cpu-ort1 --accuracy math:fsum --budget 3 --store {}/new.db",
    "report": "{}/lat.db -o {}/r.html",
}
#: The status where the first thing that takes time would have begun.
STARTED = 77


def made_folder(folder, store):
    """The folder that the calls speak of: stores, a model of which one size is dynamic, timings."""
    for name in ("lat.db", "other.db"):
        shutil.copy(store, folder / name)
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, None, 8]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", infos[:1], infos[1:])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "m.onnx")
    runs = [{"metadata": {"commit_id": "7" * 40}, "values": [n / 1000]} for n in (8, 9)]
    benchmarks = [{"metadata": {"name": "a"}, "runs": runs}]
    (folder / "runs.json").write_text(json.dumps({"version": "1.0", "benchmarks": benchmarks}))
    return folder


def stop_what_takes_long(replace):
    """Whatever would take long ends the command with a status; ``replace`` is a ``setattr``."""
    from latprof.farm import farm_keys, starting
    from latprof.profilers.visits.measuring_process import ProcessMeasurer
    from latprof.workflows import search_request

    def begin(*_arguments, **_options):
        raise SystemExit(STARTED)

    # As latprof's own code: what others raise is told in an error.
    own = {"__name__": "latprof.stopped", "STARTED": STARTED, "SystemExit": SystemExit}
    start = FunctionType(begin.__code__, own)

    for name in ("start", "await_start", "prepare", "visit", "profile"):
        replace(ProcessMeasurer, name, start)
    replace(search_request, "search_in_store", start)
    replace(farm_keys, "make_keys", start)
    replace(starting, "start", start)
