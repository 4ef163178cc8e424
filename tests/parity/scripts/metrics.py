# SPDX-License-Identifier: MIT
"""define_metric: every kind of summary, step metrics, hidden, goal."""
# shows: metric history summary
import wandb
from wandb.proto import wandb_internal_pb2 as pb

run = wandb.init()
run.define_metric("epoch", hidden=True)
run.define_metric("loss", summary="min", step_metric="epoch")
run.define_metric("acc", summary="max,mean,first,last", step_metric="epoch", step_sync=False)
for name, goal in (("best_low", pb.MetricRecord.GOAL_MINIMIZE),
                   ("best_high", pb.MetricRecord.GOAL_MAXIMIZE)):
    best = pb.MetricRecord(name=name, goal=goal)  # no public call sets a goal; other clients do
    best.summary.best = True
    run._interface._publish_metric(best)
run.define_metric("copied", summary="copy")
run.define_metric("silent", summary="none")
run.define_metric("all", summary="min,max,mean,last,first")
run.define_metric("nested.value", summary="max")
values = [3, 1, 2.5, float("nan"), -4, 2]
for i, v in enumerate(values):
    run.log({"epoch": i, "loss": v, "acc": v, "best_low": v, "best_high": v, "copied": v,
             "silent": v, "all": v, "nested": {"value": v, "other": v}})
run.define_metric("loss", summary="max")
run.define_metric("silent", summary="last", overwrite=True)
run.log({"loss": 100, "silent": 9, "all": "text"})
run.log({"loss": True, "all": None})
run.log({"all": float("inf")})
run.finish()
