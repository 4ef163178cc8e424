# SPDX-License-Identifier: MIT
"""The same script through the peer's service and through ours leaves the same run.

Each file in scripts/ is run twice with the unmodified wandb package, offline: once it starts the
wandb-core of the package, once our binary (as `wandb-core`). What both left behind is compared:
see facts.py. A script's line `# shows: a b` names record kinds that must be there, so that two
empty runs are no success; `# accepts: file` names a file in which they may differ. Every difference
that is accepted, here or in facts.py, is in docs/parity.md with its reason.

PARITY_OURS names another binary to compare (the peer's own proves the harness).
"""

import pytest

import harness

SCRIPTS = sorted(harness.SCRIPTS.glob("[a-z]*.py"))
FEWEST_SCRIPTS = 40


def test_there_are_enough_scripts():
    assert len(SCRIPTS) >= FEWEST_SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_same_run(script, tmp_path):
    harness.check_same_run(script, tmp_path, harness.THEIRS)
