# SPDX-License-Identifier: MIT
"""The backend does not know of features."""
import parity_backend
import wandb

parity_backend.fault("ServerFeaturesQuery", "404", -1)
run = wandb.init()
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
