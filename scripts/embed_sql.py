#!/usr/bin/env python3
"""Turns the database's migrations into a C file: src/store/migrations/{sqlite,postgres}/NNNN_name.sql.

Both folders must have the same numbers and names, from 0001 without a gap. See src/store/migrations.h.
"""

import argparse
import hashlib
import pathlib
import re
import sys

KINDS = ["sqlite", "postgres"]

HEAD = """\
/* Made by scripts/embed_sql.py. */
#include "store/migrations.h"

"""


def collect(folder):
    """[(number, name, path)] in order; ends the program where a number is missing or stands twice."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = re.fullmatch(r"(\d{4})_([a-z0-9_]+)", path.stem)
        if match is None:
            sys.exit(f"{path}: a migration is named NNNN_name.sql")
        found.append((int(match[1]), match[2], path))
    if [number for number, _, _ in found] != list(range(1, len(found) + 1)) or not found:
        sys.exit(f"{folder}: migrations are numbered from 0001 without a gap")
    return found


def c_lines(text):
    """The text as one C string literal for each of its lines."""
    for line in text.splitlines(keepends=True):
        escaped = line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        yield f'    "{escaped}"\n'


def table(kind, migrations):
    rows = []
    for number, name, path in migrations:
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        rows.append(f'    {{{number}, "{name}", "{digest}",\n{"".join(c_lines(data.decode()))}    }},\n')
    return f"const nx_migration nx_migrations_{kind}[] = {{\n{''.join(rows)}}};\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--depfile", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    found = {kind: collect(arguments.folder / kind) for kind in KINDS}
    if len({tuple(row[:2] for row in migrations) for migrations in found.values()}) != 1:
        sys.exit(f"{arguments.folder}: {' and '.join(KINDS)} have different migrations")
    text = HEAD + "\n".join(table(kind, migrations) for kind, migrations in found.items())
    text += f"\nconst size_t nx_migration_count = {len(found[KINDS[0]])};\n"
    arguments.out.write_text(text)
    # Folders too: their time changes when a file comes or goes.
    inputs = [arguments.folder / kind for kind in KINDS]
    inputs += [path for migrations in found.values() for _, _, path in migrations]
    names = " ".join(str(path.resolve()).replace(" ", "\\ ") for path in inputs)
    arguments.depfile.write_text(f"{arguments.out}: {names}\n")


if __name__ == "__main__":
    main()
