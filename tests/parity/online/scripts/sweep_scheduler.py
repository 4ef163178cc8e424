# SPDX-License-Identifier: MIT
"""A scheduler of the program's own: runs before it, suggestions, one that is pruned, a busy backend, the end."""
# alone
import parity_backend
from wandb.sdk.sweeps.run_state import RunState
from wandb.sdk.sweeps.scheduler.client import run_scheduler
from wandb.sdk.sweeps.scheduler.optimizer import Optimizer, RunSuggestion

parity_backend.features("SWEEPS_LOCAL_SCHEDULER")
POINTS = [{"x": 0.5, "name": "a \"quoted\" <name>"}, {"x": 2, "deep": {"b": [1, 2], "a": None}}, {"x": -3}]


class Scripted(Optimizer):
    n = 0

    def validate_sweep_objective(self):
        assert self.metric_key() == "loss"

    def has_terminator(self):
        return False

    def ask_n_runs(self, n):
        begin, self.n = self.n, min(self.n + n, len(POINTS))
        return [RunSuggestion(POINTS[i], f"opt-{i}") for i in range(begin, self.n)]

    def tell_run(self, run_id, data):
        print("told", run_id, data.state.name, data.config.flat_dict() in POINTS, data.summary_metrics,
              data.history_metrics in ([], [{"_step": 0, "loss": 2}]))

    def forget_run(self, run_id):
        print("forget", run_id)

    def prune_run(self, run_id, data):
        return run_id == "opt-1" and data.state is RunState.RUNNING


parity_backend.fault("SweepWatchedRuns", "429", skip=2)
parity_backend.fault("EnqueueSweepRun", "429", skip=2)
done = run_scheduler(entity="tester", project="sched", sweep_id="sweep-one", make_optimizer=Scripted, batch_size=2,
                     poll_interval=5)
print("reason", done.reason)
