# SPDX-License-Identifier: MIT
"""Histograms, of data and ready made."""
# shows: history summary
import numpy as np

import wandb

run = wandb.init()
run.define_metric("h", summary="max")
for i in range(3):
    run.log({"h": wandb.Histogram(np.linspace(0, 1, 100) * i),
             "w": wandb.Histogram(np_histogram=([1, 2], [0, 1, 2]))})
run.log({"nested": {"h": wandb.Histogram([1, 2, 3])}})
run.finish()
