# SPDX-License-Identifier: MIT
"""Rows of a megabyte, and larger limits in the settings."""
import wandb

run = wandb.init(settings=wandb.Settings(x_file_stream_max_line_bytes=2_000_000, x_file_stream_max_bytes=12_000_000))
run.log({"text": "\u00e9" * 500_000})
run.log({"text": "x" * 1_999_000})
run.log({"small": 1})
run.finish()
