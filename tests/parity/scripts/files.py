# SPDX-License-Identifier: MIT
"""run.save with each policy, globs and folders; what ends up in the run folder."""
# shows: files
import pathlib

import wandb

pathlib.Path("out/sub").mkdir(parents=True)
for name in ("now.txt", "end.txt", "live.txt", "out/a.bin", "out/sub/b.bin"):
    pathlib.Path(name).write_text(name)
run = wandb.init()
run.save("now.txt", policy="now")
run.save("end.txt", policy="end")
run.save("live.txt", policy="live")
run.save("out/*", policy="end")
run.save("out/sub/b.bin", base_path="out")
run.save("missing*.txt")
pathlib.Path("live.txt").write_text("changed")
pathlib.Path(run.dir, "own.txt").write_text("written into the folder")
run.log({"x": 1})
pathlib.Path("end.txt").write_text("changed at the end")
run.finish()
