"""Run a command and keep what it prints among the results, with its record: the JSON of `onyxrank bench`, say.

    python benchmarks/keep.py bench bench-page -- onyxrank bench BUNDLE --items 100 --json
    python benchmarks/keep.py training quality/office-cross/broken_quantization -- make broken-quantization RUN=name

JSON is kept as ``NAME.json`` in the machine's folder, or in the folder that the name begins with; other text is kept
as ``NAME.txt`` there, with its record beside.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence

from provenance import RESULTS, result_folder, stamp, write_record, write_result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, keep its output, and end with its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", help="of benchmarks/states.json")
    parser.add_argument("name", help="of the file, without its ending")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args(arguments)
    record = stamp(given.kind, given.command)
    done = subprocess.run(given.command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    folder, _, name = given.name.rpartition("/")
    kept = result_folder(record, RESULTS / folder if folder else None)
    try:
        write_result(record, json.loads(done.stdout), kept / f"{name}.json")
    except json.JSONDecodeError:
        (kept / f"{name}.txt").write_text(done.stdout, encoding="utf-8")
        write_record(record, kept / f"{name}.txt")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
