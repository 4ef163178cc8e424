# SPDX-License-Identifier: MIT
"""Artifacts logged offline: files, references, aliases, time to live, models, code."""
# shows: artifact files
import pathlib

import wandb

pathlib.Path("data").mkdir()
for i in range(5):
    pathlib.Path(f"data/f{i}.txt").write_text(f"file {i}\n" * (i + 1))
run = wandb.init()
one = wandb.Artifact("set", type="dataset", description="five files",
                     metadata={"n": 5, "x": {"y": [1]}})
one.add_dir("data")
run.log_artifact(one, aliases=["best", "v9"], tags=["t1"])
two = wandb.Artifact("ref", type="dataset")
two.add_reference("https://example.com/file.bin", checksum=False)
two.add_file("data/f1.txt", name="renamed.txt")
with two.new_file("made.txt") as f:
    f.write("made")
run.log_artifact(two)
run.log_artifact("data/f0.txt", name="byname", type="raw")
run.log_model("data/f2.txt", name="net")
run.log_code("data", include_fn=lambda path: path.endswith(".txt"))
run.finish()
