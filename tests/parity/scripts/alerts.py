# SPDX-License-Identifier: MIT
"""Alerts of each level."""
# shows: alert
import datetime

import wandb

run = wandb.init()
run.alert("first", "text")
run.alert("second", "more", level=wandb.AlertLevel.WARN, wait_duration=300)
run.alert("third", "most", level="ERROR", wait_duration=datetime.timedelta(minutes=5))
run.finish()
