# SPDX-License-Identifier: MIT
"""Lines over the limit are left out, requests stay below theirs."""
import wandb

run = wandb.init(settings=wandb.Settings(x_file_stream_max_line_bytes=2000,
                                         x_file_stream_max_bytes=5000))
for i in range(20):
    run.log({"text": "t" * (3000 if i % 5 == 4 else 900), "i": i})
run.finish()
