# SPDX-License-Identifier: MIT
"""Watching values of an unwatched model: jobs, use of artifacts by name, job inputs."""
# shows: history
import wandb

run = wandb.init(job_type="evaluate", settings=wandb.Settings(disable_job_creation=True))
run.log({"x": 1})
try:
    run.use_artifact("nothing:latest")
except Exception as e:
    print(type(e).__name__)
run.finish()
