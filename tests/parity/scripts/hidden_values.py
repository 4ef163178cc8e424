# SPDX-License-Identifier: MIT
"""Values that are followed by None, or that a definition hides after they were logged."""
# shows: history summary metric
import wandb

run = wandb.init()
run.log({"loss": 1.0, "val": 0.5, "kept": 1, "hidden": 2, "nested": {"val": 3}})
run.log({"loss": 0.5, "val": None, "nested": {"val": None}})
run.log({"loss": 0.4, "val": None})
run.define_metric("hidden", summary="none")
run.define_metric("kept", summary="max")
run.log({"loss": 0.3, "hidden": 7, "kept": 0})
run.log({"never": None})
run.define_metric("tracked", summary="min,last")
run.log({"tracked": 4})
run.log({"tracked": None})
run.finish()
