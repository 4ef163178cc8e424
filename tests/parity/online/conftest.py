# SPDX-License-Identifier: MIT
import pathlib
import sys

PARITY = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PARITY))
sys.path.insert(0, str(PARITY.parent / "support"))
