# SPDX-License-Identifier: MIT
"""Images, with captions, boxes and masks; lists of them; the files they leave."""
# shows: history files summary
import numpy as np
from PIL import Image

import wandb

run = wandb.init()
pixels = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
run.log({"img": wandb.Image(pixels, caption="grad")})
run.log({"list": [wandb.Image(pixels), wandb.Image(255 - pixels)],
         "pil": wandb.Image(Image.new("RGB", (4, 4)))})
run.log({"mask": wandb.Image(pixels, masks={"m": {"mask_data": np.ones((16, 16), dtype=np.uint8),
                                                    "class_labels": {1: "one"}}})})
run.log({"boxed": wandb.Image(pixels, boxes={"b": {"box_data": [
    {"position": {"minX": 0.1, "maxX": 0.5, "minY": 0.1, "maxY": 0.5}, "class_id": 1}],
    "class_labels": {1: "one"}}})})
run.summary["last_img"] = wandb.Image(pixels)
run.finish()
