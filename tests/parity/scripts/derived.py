# SPDX-License-Identifier: MIT
"""The backend derives the summary: rows leave it alone (x_server_side_derived_summary)."""
# shows: history
import wandb

run = wandb.init(settings=wandb.Settings(x_server_side_derived_summary=True))
run.define_metric("loss", summary="min")
for i in range(4):
    run.log({"loss": 1 / (i + 1), "i": i})
run.summary["explicit"] = 5
print(dict(run.summary).get("explicit"))
run.finish()
