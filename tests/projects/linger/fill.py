"""Writes BYTES into its temporary folder, or reads the file DATA that was fetched for it."""

import argparse
import pathlib
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("--bytes", type=int, default=0)
parser.add_argument("--data", type=pathlib.Path)
options = parser.parse_args()
with tempfile.TemporaryFile() as file:
    file.write(bytes(options.bytes))
    file.flush()
if options.data is not None:
    assert options.data.stat().st_size > 0
