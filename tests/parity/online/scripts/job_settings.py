# SPDX-License-Identifier: MIT
"""Settings that say what the backend is told of the program."""
import wandb

run = wandb.init(settings=wandb.Settings(
    x_disable_meta=True, disable_git=True, disable_code=True, host="a-host", program="prog.py",
    program_relpath="dir/prog.py", run_job_type="jobs", x_save_requirements=False))
run.log({"x": 1})
run.finish()
