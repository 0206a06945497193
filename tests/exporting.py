"""Exports as the tests make them: few lists, nothing told, and limits for those whose subject is not the gate."""

from __future__ import annotations

from onyxrank_export.conversion.export import ExportConfig, export_bundle
from onyxrank_export.conversion.gate import GateLimits

ANYTHING = GateLimits(auc_change=9.0, ndcg_kept=-99.0, overlap=-9.0)
"""Limits that every graph keeps, on every machine."""
NOTHING = GateLimits(overlap=9.0)
"""Limits that no graph keeps."""


def silent(step):
    pass


def export(run_folder, out, **settings):
    data = settings.pop("data", None)
    return export_bundle(run_folder, out, ExportConfig(**({"gate_lists": 8} | settings)), data=data, say=silent)


def names(folder):
    return sorted(path.name for path in folder.iterdir())
