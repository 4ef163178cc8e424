# SPDX-License-Identifier: MIT
"""The file stream fails more often than the settings allow."""
import parity_backend
import wandb

run = wandb.init(settings=wandb.Settings(x_file_stream_retry_max=1))
parity_backend.fault("file_stream", "500", -1)
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
