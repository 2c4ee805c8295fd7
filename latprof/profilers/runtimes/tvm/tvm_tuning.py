"""Tuning of a network's kernels with TVM's MetaSchedule, each kernel once and kept for good.

MetaSchedule measures schedules of a kernel (Shao et al., "Tensor Program Optimization with
Probabilistic Programs", NeurIPS 2022), guided by an evolutionary search and a cost model of boosted
trees. What it found lies in a folder of files, one a kernel, so that other networks with the same
kernel, other processes and later runs take it as it is: the reference network is tuned once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib
import importlib.metadata
import json
import logging
import sys
import tempfile
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.common.cores import allowed_cores
from latprof.common.extras import require
from latprof.common.files import cache_folder, output_error, write_atomically
from latprof.errors import DeviceError, RuntimeFailedError
from latprof.profilers.host.facts import processor_name
from latprof.profilers.runtimes.tvm.tvm_build import quiet

if TYPE_CHECKING:
    from latprof.profilers.runtimes.tvm.tvm_build import Kernels

#: Longest time for one trial's runs, in seconds; one that takes longer counts as failed.
TRIAL_TIMEOUT_S = 10.0
#: Time that the runs of one trial should take, in milliseconds.
_TRIAL_MS = 20
#: What MetaSchedule calls the time of a trial that failed is longer than this, in seconds.
_FAILED_S = 1e9
#: Of the search: the same kernel is searched in the same order.
_SEED = 1
_LOGGER = "tvm.s_tir.meta_schedule"


def tuned_database(kernels: Kernels, trials: int, threads: int) -> Any:
    """The best schedules of a network's kernels, found now or earlier, as TVM's database.

    Parameters
    ----------
    kernels : Kernels
    trials : int
        Schedules that are measured of each kernel.
    threads : int
        Threads that a kernel may run on.

    Raises
    ------
    DeviceError
        Where a kernel has to be tuned and there is no C++ compiler.
    RuntimeFailedError
        When no trial of any kernel ran.
    """
    with quiet():
        from tvm.s_tir import meta_schedule

        tasks = meta_schedule.relax_integration.extract_tasks(kernels.module, kernels.target)
        database = meta_schedule.database.MemoryDatabase()
        kept = KeptSchedules(cache_folder("tvm"), kernels.target, trials, threads)
        missing = [task for task in tasks if not kept.restore(task, database)]
        if missing:
            with kept.locked():  # another process may have found them, and would disturb ours
                missing = [task for task in missing if not kept.restore(task, database)]
                _tune(missing, trials, kept)
            for task in missing:
                kept.restore(task, database)
    return database


@dataclass(frozen=True)
class KeptSchedules:
    """Files of found schedules, one a kernel, of one processor, version, and number of trials.

    Parameters
    ----------
    root : Path
    target : tvm.target.Target
    trials, threads : int
        A kernel tuned with another number of either is another kernel.
    """

    root: Path
    target: Any
    trials: int
    threads: int

    @property
    def folder(self) -> Path:
        """The folder of what these schedules hold for."""
        version = importlib.metadata.version("apache-tvm")
        facts = f"{processor_name()}\n{self.target}\n{self.threads}"
        digest = hashlib.sha256(facts.encode()).hexdigest()[:16]
        return self.root / f"{version}-{digest}"

    def path(self, task: Any) -> Path:
        """The file of one kernel, named by the hash of its structure."""
        from tvm.s_tir.meta_schedule.utils import shash2hex

        return self.folder / f"{shash2hex(task.dispatched[0])}-{self.trials}.json"

    def restore(self, task: Any, database: Any) -> bool:
        """Put a kernel's schedule into ``database``; False where none is kept, or is no schedule.

        A kernel of which no trial ran is kept as such, and stays as it is.
        """
        from tvm.s_tir.meta_schedule.database import TuningRecord

        try:
            text = self.path(task).read_text(encoding="utf-8")
            if '"Tensorize"' in text:
                _import_intrinsics()
            record = json.loads(text)["record"]
            if record is not None:
                workload = database.commit_workload(task.dispatched[0])
                database.commit_tuning_record(TuningRecord.from_json(record, workload))
        except Exception:  # noqa: BLE001 - missing, damaged or foreign: it is found again
            return False
        return True

    def keep(self, task: Any, record: Any) -> None:
        """Keep a kernel's record, plain JSON values; None where no trial ran."""
        content = json.dumps({"kernel": str(task.task_name), "record": record})
        write_atomically(self.path(task), content.encode())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Wait until no other process tunes for this processor; it ends with the process."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / "lock").open("w", encoding="utf-8")
        except OSError as error:
            raise output_error(self.folder, error) from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _tune(tasks: Sequence[Any], trials: int, kept: KeptSchedules) -> None:
    """Tune kernels one by one, keeping each as it is found."""
    from tvm.support import cc

    if not tasks:
        return
    if cc.get_cc() is None:
        raise DeviceError(
            "tuning needs a C++ compiler", hint="install g++ or clang++, or leave out tuned="
        )
    failed = []
    with _tools() as tools:
        for task in tasks:
            record = _best_record(task, trials, tools)
            if record is None:
                failed.append(task)
            else:
                kept.keep(task, record)
    if len(failed) == len(tasks):
        raise RuntimeFailedError(
            f"no trial ran of any of {len(tasks)} kernels",
            hint="allow more trials with tuned=N; see whether a C++ compiler works here",
        )
    for task in failed:
        kept.keep(task, None)


@contextlib.contextmanager
def _tools() -> Iterator[dict[str, Any]]:
    """What all kernels are tuned with; no process of it outlives the block."""
    require("train", "tuning with TVM", "xgboost")
    from tvm.s_tir.meta_schedule.cost_model.xgb_model import XGBConfig, XGBModel
    from tvm.s_tir.meta_schedule.runner import EvaluatorConfig, LocalRunner

    _import_intrinsics()
    logging.getLogger(_LOGGER).setLevel(logging.CRITICAL)
    runner = LocalRunner(
        timeout_sec=TRIAL_TIMEOUT_S,
        evaluator_config=EvaluatorConfig(number=1, repeat=1, min_repeat_ms=_TRIAL_MS),
    )
    try:
        yield {
            # Threads of its own would wait for work in loops, and slow the trials down.
            "cost_model": XGBModel(config=XGBConfig(nthread=1)),
            "runner": runner,
            "builder": _builder(),
        }
    finally:
        runner.pool.shutdown()


def _best_record(task: Any, trials: int, tools: dict[str, Any]) -> Any:
    """Search schedules of one kernel; return the best one's record as JSON values, or None."""
    from tvm.s_tir import meta_schedule
    from tvm.s_tir.meta_schedule.database import JSONDatabase
    from tvm.s_tir.meta_schedule.search_strategy import EvolutionarySearch

    # The search's own defaults are for hundreds of trials; few take a smaller population.
    population = min(512, max(16, 4 * trials))
    context = meta_schedule.TuneContext(
        mod=task.dispatched[0],
        target=task.target,
        space_generator="post-order-apply",
        search_strategy=EvolutionarySearch(
            population_size=population, init_min_unmeasured=min(50, population // 2)
        ),
        task_name=task.task_name,
        rand_state=_SEED,
        num_threads=len(allowed_cores()),  # no trial runs meanwhile
        logger=logging.getLogger(_LOGGER),
    )
    with tempfile.TemporaryDirectory(prefix="latprof-") as directory:
        meta_schedule.tune.tune_tasks(
            tasks=[context],
            task_weights=[1.0],
            work_dir=directory,
            max_trials_global=trials,
            num_trials_per_iter=min(64, trials),
            database=JSONDatabase(work_dir=directory),
            **tools,
        )
        lines = Path(directory, "database_tuning_record.json").read_text(encoding="utf-8")
    records = [json.loads(line)[1] for line in lines.splitlines()]
    ran = [record for record in records if record[1] and max(record[1]) < _FAILED_S]
    return min(ran, key=lambda record: sum(record[1]) / len(record[1]), default=None)


def _builder() -> Any:
    """Builds trials in this process: TVM's own starts processes anew for every few trials."""
    from tvm.driver import build
    from tvm.ir.utils import derived_object
    from tvm.s_tir.meta_schedule.builder import BuilderResult, PyBuilder
    from tvm.s_tir.meta_schedule.builder.local_builder import default_export
    from tvm.s_tir.transform import RemoveWeightLayoutRewriteBlock

    @derived_object
    class InProcessBuilder(PyBuilder):  # type: ignore[misc]
        """Satisfies MetaSchedule's builder."""

        def build(self, build_inputs: Sequence[Any]) -> list[Any]:
            return [self.result(wanted) for wanted in build_inputs]

        def result(self, wanted: Any) -> Any:
            """One trial's library, or why there is none."""
            try:
                module = RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(wanted.mod)
                path = default_export(build(module, target=wanted.target))
            except Exception as error:  # noqa: BLE001 - a trial that cannot be built has failed
                return BuilderResult(None, str(error))
            return BuilderResult(path, None)

    return InProcessBuilder()


def _import_intrinsics() -> None:
    """Import the instructions that schedules may use, without those of GPUs and DSPs.

    MetaSchedule imports all of them, and parsing the others takes many seconds.
    """
    package = "tvm.s_tir.tensor_intrin"
    if package in sys.modules:
        return
    left_out = [f"{package}.{name}" for name in ("cuda", "rocm", "hexagon")]
    sys.modules.update({name: types.ModuleType(name) for name in left_out})
    try:
        importlib.import_module(package)
    finally:
        for name in left_out:
            del sys.modules[name]
