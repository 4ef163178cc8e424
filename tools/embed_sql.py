#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write the C table of migrations: embed_sql.py OUT.c NNNN_name.sql ..."""
import json
import os
import sys

out, sources = sys.argv[1], sorted(sys.argv[2:], key=os.path.basename)
with open(out, "w", encoding="ascii") as to:
    to.write('#include "server/store/db_engine.h"\n')
    to.write("const struct db_migration db_migrations[] = {\n")
    for want, path in enumerate(sources, 1):
        name = os.path.basename(path)[: -len(".sql")]
        version = int(name.split("_")[0])
        if version != want:
            sys.exit(f"{path}: migrations must be numbered without gaps, expected {want:04}")
        to.write(f'    {{{version}, "{name}",\n')
        with open(path, encoding="ascii") as text:
            for line in text:
                if line.strip() and not line.lstrip().startswith("--"):
                    line = line.split("--")[0].rstrip() + "\n"
                    to.write(f"     {json.dumps(line)}\n")
        to.write("    },\n")
    to.write("};\n")
    to.write(f"const int db_n_migrations = {len(sources)};\n")
