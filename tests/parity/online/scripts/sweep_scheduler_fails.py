# SPDX-License-Identifier: MIT
"""Schedulers that come to no good end: no feature, no sweep, an optimizer that fails, a backend that refuses."""
# alone
import parity_backend
import wandb
from wandb.sdk.sweeps.scheduler.client import run_scheduler
from wandb.sdk.sweeps.scheduler.optimizer import Optimizer, RunSuggestion


class One(Optimizer):
    def validate_sweep_objective(self):
        pass

    def has_terminator(self):
        return False

    def ask_n_runs(self, n):
        return [RunSuggestion({"x": 1}, "opt")]

    def tell_run(self, run_id, data):
        print("told", run_id, data.state.name)


class Broken(One):
    def ask_n_runs(self, n):
        raise RuntimeError("no idea")


def attempt(sweep, optimizer=One):
    try:
        run_scheduler(entity="tester", project="sched", sweep_id=sweep, make_optimizer=optimizer, batch_size=1,
                      poll_interval=5)
    except wandb.Error as e:
        print(sweep, type(e).__name__)


attempt("sweep-unsupported")
wandb.teardown()
parity_backend.features("SWEEPS_LOCAL_SCHEDULER")
parity_backend.fault("SweepConfig", "404")
attempt("sweep-missing")
attempt("sweep-broken", Broken)
parity_backend.fault("SweepRunsWithHistory", "403")
attempt("sweep-forbidden")
parity_backend.fault("EnqueueSweepRun", "400")
attempt("sweep-refused")
