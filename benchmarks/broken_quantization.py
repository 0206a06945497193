"""The gate at work: exports a run with every int8 weight rounded to 4 bits on purpose, which the gate must refuse.

    python benchmarks/broken_quantization.py RUN [--gate-lists 256]

Ends as `onyxrank export` does: with the gate's report, exit status 3, and no bundle.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import numpy_helper

from model import say
from onyxrank.sessions.arrays import Feeds
from onyxrank_export.conversion import quantized_variants
from onyxrank_export.conversion.errors import GateRefused
from onyxrank_export.conversion.export import ExportConfig, export_bundle
from onyxrank_export.conversion.quantize import Scheme, quantize

_STEP = 16
"""An int8 weight has 256 values; a step of 16 leaves 16 of them."""


def quantize_roughly(source: Path, target: Path, scheme: Scheme, calibration: Iterable[Feeds]) -> None:
    """Do what `quantize` does, and then cut the weights down to 4 bits."""
    quantize(source, target, scheme, calibration)
    model = onnx.load(target)
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type == onnx.TensorProto.INT8 and values.ndim == 2:
            rough = np.clip(np.round(values.astype(np.int32) / _STEP) * _STEP, -128, 127 // _STEP * _STEP)
            weight.CopyFrom(numpy_helper.from_array(rough.astype(np.int8), weight.name))
    onnx.save(model, target)


def main() -> int:
    """Export, and say whether the gate refused it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--gate-lists", type=int, default=256)
    options = parser.parse_args()
    quantized_variants.quantize = quantize_roughly
    with TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        config = ExportConfig(precisions=("int8_static",), gate_lists=options.gate_lists)
        try:
            export_bundle(options.run, bundle, config, say=say)
        except GateRefused as refused:
            say(f"{refused}")
            say(f"exit status {refused.exit_status}; bundle there: {bundle.exists()}")
            return refused.exit_status
    say("the gate let it through")
    return 0


if __name__ == "__main__":
    sys.exit(main())
