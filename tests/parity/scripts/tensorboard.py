# SPDX-License-Identifier: MIT
"""sync_tensorboard: the request to follow a folder is kept."""
# shows: tbrecord
import wandb
from wandb.sdk.lib import config_util  # noqa: F401  (the package alone, no tensorboard needed)

run = wandb.init()
run._tensorboard_callback("logs/train", save=True)
run._tensorboard_callback("logs/eval", save=False)
run.finish()
