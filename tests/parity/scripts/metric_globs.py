# SPDX-License-Identifier: MIT
"""define_metric with globs, and steps that are filled in for rows that lack them."""
# shows: metric history summary
import wandb

run = wandb.init()
run.define_metric("train/step")
run.define_metric("train/*", step_metric="train/step", summary="min")
run.define_metric("val/*", step_metric="val/step", step_sync=True, summary="max")
run.define_metric("top_*", summary="mean")
run.log({"train/step": 10, "train/loss": 1})
run.log({"train/loss": 0.5})
run.log({"val/step": 3, "val/loss": 2})
run.log({"val/loss": 1})
run.log({"top_acc": 1, "other": 1})
run.log({"top_acc": 3, "train/new": 5, "val/new": 6})
run.log({"train/step": 11, "val/step": 4})
run.define_metric("*", step_metric="train/step")
run.log({"unseen": 1, "top_acc": 2})
run.log({"deep": {"er": 1}})
run.finish()
