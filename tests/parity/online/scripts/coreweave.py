# SPDX-License-Identifier: MIT
"""A run of a customer of CoreWeave: where in that cloud it is. Others of the answer's lines are secrets."""
import time

import parity_backend
import wandb

run = wandb.init(entity="cloud", settings=wandb.Settings(
    x_disable_stats=False, x_stats_sampling_interval=1000, x_stats_coreweave_metadata_base_url=parity_backend.URL,
    x_stats_coreweave_metadata_endpoint="cloud/meta-data"))
parity_backend.wait_for("GET /cloud/meta-data")
time.sleep(3)  # until the answer is in a record, on a busy machine, too
run.finish()
