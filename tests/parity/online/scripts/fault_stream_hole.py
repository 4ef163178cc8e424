# SPDX-License-Identifier: MIT
"""Nothing answers the file stream for a while."""
import parity_backend
import wandb

run = wandb.init(settings=wandb.Settings(x_file_stream_timeout_seconds=3))
parity_backend.fault("file_stream", "hole")
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
