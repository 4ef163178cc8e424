# SPDX-License-Identifier: MIT
"""No compressed bodies where the backend does not say that it takes them."""
import wandb

run = wandb.init(settings=wandb.Settings(x_file_stream_no_gzip=False))
run.log({"x": 1})
run.finish()
