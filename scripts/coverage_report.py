#!/usr/bin/env python3
"""What the tests reach of src, by folder: lines, and the error paths.

Reads what `llvm-cov export` writes (JSON with the segments of each file) and the sources, prints a
table, and writes every error path that no test takes into a listing. An error path is a block of
code that

  raises     makes an error: it names a status other than NX_OK, or calls one of RAISERS;
  passes on  is entered because a call did not return NX_OK, or hands an error on (PASSERS).

A block that does both raises; one that does it twice counts once. Blocks that raise NX_ERR_NO_MEMORY
are counted apart: no input leads to them.
"""

import argparse
import bisect
import json
import pathlib
import re
from collections import Counter, defaultdict

WANTED = 85.0  # percent of a file's lines

RAISERS = r"nx_error_set(?:_errno)?|nx_json_refuse|nx_problem_make"
PASSERS = r"nx_error_prefix|nx_cli_fail"
RAISES = re.compile(rf"\bNX_ERR_[A-Z_]+\b|\b(?:{RAISERS})\s*\(")
PASSES_ON = re.compile(rf"!=\s*NX_OK\b[^;{{}}]*\)\s*\{{|\b(?:{PASSERS})\s*\(|\breturn\s+err(?:->|\.)status\s*;"
                       r"|\bgoto\s+fail\s*;")
# Comments, and what stands in quotes.
OPAQUE = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)

RAISED, NO_MEMORY, PASSED_ON = "raised", "no memory", "passed on"


def bare(text):
    """The text with spaces for comments and literals, each character where it was."""
    return OPAQUE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def is_raised(text, match):
    """Whether a status is made here, rather than compared with or named in a table."""
    begins = max(text.rfind(mark, 0, match.start()) for mark in ";{}")
    before = text[begins + 1:match.start()]
    if match[0].startswith("NX_ERR_"):
        after = text[match.end():match.end() + 8].lstrip()
        return (re.search(r"(?:[=!]=|\[|\bcase)\s*$", before) is None and not after.startswith(("==", "!="))
                and re.search(r"\breturn\b|[=(]", before) is not None
                # what a variable holds until something happens
                and re.search(r"^\s*(?:static\s+)?(?:const\s+)?nx_status\s+\w+\s*=\s*$", before) is None)
    end = text.find(";", match.end())
    return not re.search(r"\bNX_ERR_", text[match.end():end])  # else that name is the place


def error_paths(text):
    """{offset: kind} of the places in a source."""
    text = bare(text)
    # The block that a condition opens begins at its brace.
    found = {match.end() - 1: PASSED_ON for match in PASSES_ON.finditer(text)}
    for match in RAISES.finditer(text):
        if is_raised(text, match):
            found[match.start()] = NO_MEMORY if match[0] == "NX_ERR_NO_MEMORY" else RAISED
    return found


class File:
    """One source: its lines, and its error paths as {segment: (kind, line, count)}."""

    def __init__(self, path, entry):
        lines = entry["summary"]["lines"]
        self.lines, self.covered = lines["count"], lines["covered"]
        self.text = path.read_bytes().decode("latin-1")  # columns count bytes
        self.paths = {}
        segments = entry["segments"]  # line, column, count, has a count, ...
        places = [(segment[0], segment[1]) for segment in segments]
        starts = [0] + [match.end() for match in re.finditer("\n", self.text)]
        for offset, kind in sorted(error_paths(self.text).items()):
            line = bisect.bisect_right(starts, offset)
            index = bisect.bisect_right(places, (line, offset - starts[line - 1] + 1)) - 1
            if index < 0 or not segments[index][3]:
                continue  # outside functions, or left out by the preprocessor
            known = self.paths.get(index)
            if known is None or (known[0] == PASSED_ON and kind != PASSED_ON):
                self.paths[index] = (kind, line, segments[index][2])

    def percent(self):
        return 100.0 * self.covered / self.lines if self.lines else 100.0


class Row:
    """The sums of a folder."""

    def __init__(self):
        self.lines = self.covered = self.low = self.files = 0
        self.found, self.taken = Counter(), Counter()

    def add(self, file):
        self.files += 1
        self.lines += file.lines
        self.covered += file.covered
        self.low += file.percent() < WANTED
        for kind, _, count in file.paths.values():
            self.found[kind] += 1
            self.taken[kind] += count > 0

    def show(self, name):
        parts = [f"{name:12}{self.lines:8}{percent(self.covered, self.lines)}{self.low:7} of {self.files:3}"]
        for kind in RAISED, PASSED_ON, NO_MEMORY:
            parts.append(f"{self.taken[kind]:7} of {self.found[kind]:4}{percent(self.taken[kind], self.found[kind])}")
        return "".join(parts)


def percent(part, whole):
    return f"{100.0 * part / whole:7.1f} %" if whole else f"{'-':>9}"


def listing(files, root):
    """What is to be tested next: files that are covered least, then each path that no test takes."""
    yield f"Files with less than {WANTED:.0f} % of their lines covered, by lines not covered"
    low = [(name, file) for name, file in files.items() if file.percent() < WANTED]
    for name, file in sorted(low, key=lambda pair: pair[1].covered - pair[1].lines):
        yield f"{file.lines - file.covered:6} of {file.lines:5}  {file.percent():5.1f} %  {name}"
    yield ""
    yield "Error paths that no test takes"
    for name, file in files.items():
        text = file.text.split("\n")
        for kind, line, count in file.paths.values():
            if count == 0:
                yield f"{name}:{line}: {kind}: {text[line - 1].strip()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("export", type=pathlib.Path, help="what llvm-cov export wrote")
    parser.add_argument("--root", required=True, type=pathlib.Path, help="the folder that src is in")
    parser.add_argument("--listing", required=True, type=pathlib.Path, help="where what is not covered is listed")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    rows, whole, files = defaultdict(Row), Row(), {}
    for entry in json.loads(arguments.export.read_text())["data"][0]["files"]:
        path = pathlib.Path(entry["filename"]).resolve()  # Meson's go through the build folder
        if path.suffix != ".c" or not path.is_relative_to(root / "src"):
            continue
        name = path.relative_to(root)
        files[name] = File(path, entry)
        rows[name.parts[1] if len(name.parts) > 2 else "(main)"].add(files[name])
        whole.add(files[name])
    arguments.listing.write_text("\n".join(listing(dict(sorted(files.items())), root)) + "\n", encoding="latin-1")
    print("                    lines        files under            error paths taken by a test")
    print(f"folder         all  covered        {WANTED:.0f} %"
          "               raised              passed on          out of memory")
    for name, row in sorted(rows.items()):
        print(row.show(name))
    print(whole.show("src"))
    errors = sum(whole.found[kind] for kind in (RAISED, PASSED_ON))
    print(f"error paths covered, those of lack of memory left out: "
          f"{100.0 * sum(whole.taken[kind] for kind in (RAISED, PASSED_ON)) / max(errors, 1):.1f} % of {errors}")
    print(f"Not covered: {arguments.listing}")


if __name__ == "__main__":
    main()
