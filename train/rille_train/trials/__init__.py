"""Many independent trainings: folds and trials, on this machine or on a Ray cluster."""

from rille_train.trials.jobs import Job, JobResult, Material
from rille_train.trials.runners import Workers, run_jobs

__all__ = ["Job", "JobResult", "Material", "Workers", "run_jobs"]
