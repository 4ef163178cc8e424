# SPDX-License-Identifier: MIT
"""Compressed bodies, where the backend takes them and the settings ask for them."""
import parity_backend
import wandb

parity_backend.features("FILESTREAM_GZIP")
run = wandb.init(settings=wandb.Settings(x_file_stream_no_gzip=False))
for i in range(100):
    run.log({"x": i, "text": "t" * 50})
run.finish()
