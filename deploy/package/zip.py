"""Writes a zip of programs with the same bytes each time: zip.py ARCHIVE FILE..."""

import os
import sys
import time
import zipfile
from pathlib import Path

# The format knows no time before 1980.
EPOCH = max(int(os.environ["SOURCE_DATE_EPOCH"]), 315532800)


def main(archive, *files):
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for file in sorted(map(Path, files)):
            entry = zipfile.ZipInfo(file.name, time.gmtime(EPOCH)[:6])
            # Everyone may read and start it: Lambda runs it as a user of its own.
            mode = 0o644 if file.suffix == ".toml" else 0o755
            entry.external_attr = (0o100000 | mode) << 16
            entry.create_system = 3
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, file.read_bytes())


main(*sys.argv[1:])
