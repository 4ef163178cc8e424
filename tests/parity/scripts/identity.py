# SPDX-License-Identifier: MIT
"""Who the run is: name, notes, tags, group, job type, entity, and changes of them."""
# shows: run
import wandb

run = wandb.init(project="other", entity="team", name="first name",
                 notes="some\nnotes", tags=["a", "b"], group="g", job_type="train", save_code=False)
print(run.name, run.project, run.entity, run.group, run.job_type, run.tags, run.notes, run.offline)
run.name = "second name"
run.notes = "others"
run.tags = run.tags + ("c",)
run.log({"x": 1})
run.finish()
