#!/usr/bin/env python3
"""Turns a folder with the built web page into sources that put it inside the binary.

Writes three files into the output folder:
  assets.bin      every file, and its gzip form where that saves more than a tenth
  assets_data.S   assets.bin as read-only data (.incbin)
  assets_table.c  path, type, place, size and ETag of each, sorted by path (see src/web/assets.h)

`index.html` is found at `/`, any other `NAME.html` at `/NAME`. The same input gives the same output,
byte for byte. With no folder the table is empty. Also writes a depfile, so that a changed, new or
removed file runs this again.
"""

import argparse
import gzip
import hashlib
import pathlib
import sys

MIME_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}

ASSEMBLY = """\
/* Made by scripts/embed_assets.py from {count} files (sha256 {digest}). */
    .section .rodata
    .global nx_assets_data
    .hidden nx_assets_data
    .type nx_assets_data, %object
    .balign 16
nx_assets_data:
    .incbin "{path}"
    .byte 0
    .size nx_assets_data, . - nx_assets_data
    .section .note.GNU-stack, "", %progbits
"""

TABLE = """\
/* Made by scripts/embed_assets.py. */
#include "web/assets_table.h"

{declaration}const nx_asset nx_assets_table[] = {{
{rows}}};
const size_t nx_assets_count = {count};
"""

ROW = """\
    {{.path = {path}, .mime_type = {mime}, .etag = {etag},
     .data = {data}, .size = {size}, .gzip_data = {gzip_data}, .gzip_size = {gzip_size}}},
"""


def url_path(relative):
    if relative == "index.html":
        return "/"
    return "/" + relative.removesuffix(".html")


def c_string(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def smaller(data):
    """The gzip form, or nothing when it saves a tenth or less (pictures, fonts)."""
    packed = gzip.compress(data, compresslevel=9, mtime=0)
    return packed if len(packed) < 0.9 * len(data) else b""


def collect(dist):
    """[(url path, mime type, bytes)], sorted as strcmp sorts."""
    assets = []
    for file in dist.rglob("*"):
        if not file.is_file():
            continue
        mime = MIME_TYPES.get(file.suffix)
        if mime is None:
            sys.exit(f"{file}: no media type is known for '{file.suffix}'; add it to {__file__}")
        relative = file.relative_to(dist).as_posix()
        assets.append((url_path(relative), mime, file.read_bytes()))
    return sorted(assets, key=lambda asset: asset[0].encode())


def write_sources(assets, out):
    blob = bytearray()
    rows = []
    for path, mime, data in assets:
        packed = smaller(data)
        at = len(blob)
        blob += data + packed
        rows.append(ROW.format(
            path=c_string(path),
            mime=c_string(mime),
            etag=c_string('"' + hashlib.sha256(data).hexdigest()[:32] + '"'),
            data=f"nx_assets_data + {at}",
            size=len(data),
            gzip_data=f"nx_assets_data + {at + len(data)}" if packed else "NULL",
            gzip_size=len(packed)))
    binary = out / "assets.bin"
    binary.write_bytes(blob)
    # The digest makes the text differ when only the bytes do, for compiler caches.
    (out / "assets_data.S").write_text(ASSEMBLY.format(
        count=len(assets), digest=hashlib.sha256(blob).hexdigest(), path=binary.resolve()))
    (out / "assets_table.c").write_text(TABLE.format(
        declaration="extern const unsigned char nx_assets_data[];\n\n" if rows else "",
        rows="".join(rows) or "    {.path = NULL},\n",
        count=len(rows)))


def write_depfile(depfile, dist, out):
    """Folders too: their time changes when a file comes or goes."""
    inputs = [dist, *sorted(dist.rglob("*"))] if dist else []
    names = " ".join(str(path.resolve()).replace(" ", "\\ ") for path in inputs)
    depfile.write_text(f"{out / 'assets_table.c'}: {names}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dist", default="", help="the built page; empty for none")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--depfile", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    dist = pathlib.Path(arguments.dist) if arguments.dist else None
    if dist and not (dist / "index.html").is_file():
        sys.exit(f"{dist} has no index.html: build the page first (npm ci && npm run build in web/)")
    write_sources(collect(dist) if dist else [], arguments.out)
    write_depfile(arguments.depfile, dist, arguments.out)


if __name__ == "__main__":
    main()
