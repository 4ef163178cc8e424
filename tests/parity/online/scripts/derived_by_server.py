# SPDX-License-Identifier: MIT
"""The backend derives the summary from the rows: the service sends what was set only."""
import wandb

run = wandb.init(settings=wandb.Settings(x_server_side_derived_summary=True))
run.define_metric("x", summary="max")
for i in range(3):
    run.log({"x": -i})
run.summary["set"] = 1
run.finish()
