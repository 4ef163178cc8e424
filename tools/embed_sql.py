#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write the C table of migrations, and the SQLite file that they make: embed_sql.py OUT.c NNNN_name.sql ...

The file is what a server's first start would make of them (src/server/store/image.h). Nearly all of it is zeros:
what is not is written as pieces."""
import json
import os
import re
import sqlite3
import sys
import tempfile

PAGE = 8192
VERSIONS = ("CREATE TABLE IF NOT EXISTS schema_versions ("
            "version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)")
# Stands for the time of the first start: eight bytes long in the file, as times are, and not in it by chance.
TIME = 0x7E57_A11E_DA7E_0001


def read(path, want):
    """(version, name, lines without comments) of a migration."""
    name = os.path.basename(path)[: -len(".sql")]
    version = int(name.split("_")[0])
    if version != want:
        sys.exit(f"{path}: migrations must be numbered without gaps, expected {want:04}")
    with open(path, encoding="ascii") as text:
        lines = [line.split("--")[0].rstrip() + "\n" for line in text
                 if line.strip() and not line.lstrip().startswith("--")]
    return version, name, lines


def image_of(migrations):
    """The bytes of the database, made in the order of src/server/store/migrate.c."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "image.db")
        db = sqlite3.connect(path, isolation_level=None)
        for pragma in f"page_size={PAGE}", "auto_vacuum=INCREMENTAL", "journal_mode=WAL":
            db.execute(f"PRAGMA {pragma}")
        db.execute("BEGIN")
        db.execute(VERSIONS)
        for version, name, lines in migrations:
            for statement in re.split(r";$", "".join(lines), flags=re.M):
                if statement.strip():
                    db.execute(statement.replace("@KEY@", "INTEGER PRIMARY KEY").strip())
            db.execute("INSERT INTO schema_versions VALUES (?, ?, ?)", (version, name, TIME))
        db.execute("COMMIT")
        db.close()
        with open(path, "rb") as made:
            return made.read()


def pieces_of(image):
    """(offset, bytes) of all that is not zero; none reaches over the end of a page."""
    for page in range(0, len(image), PAGE):
        for found in re.finditer(rb"[^\0](?:\0{0,15}[^\0])*", image[page:page + PAGE]):
            yield page + found.start(), found.group()


def put_image(to, image, n_times):
    stamp = TIME.to_bytes(8, "big")
    times = [found.start() for found in re.finditer(re.escape(stamp), image)]
    if len(times) != n_times or len(image) % PAGE:
        sys.exit(f"the database image has {len(image)} bytes and {len(times)} times for {n_times} migrations")
    pieces = list(pieces_of(image))
    to.write("static const struct db_image_piece pieces[] = {\n")
    for offset, data in pieces:
        to.write(f"    {{{offset}, {len(data)}}},\n")
    to.write("};\nstatic const unsigned char bytes[] = {\n")
    flat = b"".join(data for _, data in pieces)
    for at in range(0, len(flat), 24):
        to.write("    " + ",".join(map(str, flat[at:at + 24])) + ",\n")
    to.write("};\nstatic const uint32_t times[] = {%s};\n" % ", ".join(map(str, times)))
    to.write(f"const struct db_image db_image = {{{len(image)}, pieces, {len(pieces)}, bytes, times, {len(times)}}};\n")


def main():
    sources = sorted(sys.argv[2:], key=os.path.basename)
    migrations = [read(path, want) for want, path in enumerate(sources, 1)]
    with open(sys.argv[1], "w", encoding="ascii") as to:
        to.write('#include "server/store/db_engine.h"\n#include "server/store/image.h"\n')
        to.write("const struct db_migration db_migrations[] = {\n")
        for version, name, lines in migrations:
            to.write(f'    {{{version}, "{name}",\n')
            for line in lines:
                to.write(f"     {json.dumps(line)}\n")
            to.write("    },\n")
        to.write(f"}};\nconst int db_n_migrations = {len(migrations)};\n")
        to.write(f"const char db_versions_table[] = {json.dumps(VERSIONS)};\n")
        put_image(to, image_of(migrations), len(migrations))


if __name__ == "__main__":
    main()
