"""Where jobs run: one after another here, several at once in processes, or on a Ray cluster."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rille.errors import ConfigError
from rille_train.trials.jobs import Job, JobResult, attempt, run_apart

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Workers:
    """Who does the work.

    Attributes:
        jobs: how many trainings at once on this machine.
        cpus: processor cores for each; 0 divides this machine's among `jobs`.
        ray: address of a Ray cluster to use instead ("auto": the one this machine belongs to,
            "local": one started for the purpose), or None.
    """

    jobs: int = 1
    cpus: int = 0
    ray: str | None = None

    def __post_init__(self) -> None:
        if self.jobs < 1 or self.cpus < 0:
            raise ConfigError("--jobs must be at least 1, --cpus at least 0")

    @property
    def share(self) -> int:
        """Processor cores for each training."""
        return self.cpus or max(1, len(os.sched_getaffinity(0)) // self.jobs)

    @property
    def environment(self) -> dict[str, str]:
        """What a worker's frameworks are told before they are imported."""
        threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), str(self.share))
        passed = {key: os.environ[key] for key in ("KERAS_BACKEND",) if key in os.environ}
        return {**threads, "TF_CPP_MIN_LOG_LEVEL": "2", **passed}


def run_jobs(jobs: Sequence[Job], workers: Workers) -> list[JobResult]:
    """Run independent jobs and return their results in their order.

    A job that is finished on disk is not run again. One that fails for a reason rille can explain
    leaves it in its result, and the others go on.

    Raises:
        ConfigError: Ray is asked for and not installed, or no cluster answers.
    """
    if workers.ray is not None:
        source = _on_ray(jobs, workers)
    elif workers.jobs > 1:
        source = _in_processes(jobs, workers)
    else:
        source = _here(jobs)
    started, results = time.monotonic(), dict[str, JobResult]()
    for result in source:
        results[result.name] = result
        left = (time.monotonic() - started) / len(results) * (len(jobs) - len(results))
        sys.stderr.write(f"{_said(result)}  [{len(results)}/{len(jobs)}, {left:.0f} s left]\n")
    return [results[job.name] for job in jobs]


def _said(result: JobResult) -> str:
    if result.error:
        return f"{result.name}: failed: {result.error}"
    return f"{result.name}: {result.deciding} {result.scores[result.deciding]:.4f}"


def _here(jobs: Sequence[Job]) -> Iterator[JobResult]:
    for job in jobs:
        sys.stderr.write(f"{job.name}: {job.out}\n")
        yield attempt(job)


def _in_processes(jobs: Sequence[Job], workers: Workers) -> Iterator[JobResult]:
    # A process for each job, and a thread that waits for it: frameworks never give memory back, and
    # one process that is killed shall not take the others with it, as it would in a pool.
    threads = ThreadPoolExecutor(workers.jobs)
    waiting = [threads.submit(_in_a_process, job, workers.environment) for job in jobs]
    try:
        for future in as_completed(waiting):
            yield future.result()
    finally:
        # Also after Ctrl-C: what runs is killed and goes on from its last epoch the next time.
        threads.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        threads.shutdown(wait=True)


def _in_a_process(job: Job, environment: dict[str, str]) -> JobResult:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(there, job, environment), name=job.name)
    process.start()
    there.close()  # or its end would never show here
    try:
        result: JobResult = here.recv()
    except EOFError:
        result = _died(job)
    process.join()
    return result


def _send(there: Connection, job: Job, environment: dict[str, str]) -> None:
    there.send(run_apart(job, environment))


def _on_ray(jobs: Sequence[Job], workers: Workers) -> Iterator[JobResult]:
    try:
        ray: Any = importlib.import_module("ray")
    except ModuleNotFoundError:
        raise ConfigError('--ray needs Ray: pip install "rille[train,cluster]"') from None
    _connect(ray, workers)
    try:
        remote = ray.remote(num_cpus=workers.share, max_calls=1, max_retries=0)(run_apart)
        waiting = {remote.remote(job, workers.environment): job for job in jobs}
        while waiting:
            (reference, *_), _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(reference)
            try:
                yield ray.get(reference)
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
                yield _died(job)
    finally:
        ray.shutdown()


def _connect(ray: Any, workers: Workers) -> None:
    local = {"num_cpus": workers.share * workers.jobs, "include_dashboard": False}
    try:
        ray.init(
            address=workers.ray,
            log_to_driver=False,
            logging_level="error",
            **(local if workers.ray == "local" else {}),
        )
    except (ConnectionError, ValueError, RuntimeError) as wrong:
        why = str(wrong).splitlines()[0]
        raise ConfigError(
            f"--ray {workers.ray}: no Ray cluster answers ({why}); start one with "
            "`ray start --head`, or use --ray local"
        ) from None


def _died(job: Job) -> JobResult:
    return JobResult(
        name=job.name,
        scores={},
        error=f"its process ended early, perhaps for want of memory (see {job.out / 'log.txt'}); "
        "the same command goes on from the last epoch",
    )
