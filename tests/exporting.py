"""Exports as the tests make them: few lists, nothing told."""

from __future__ import annotations

from onyxrank_export.conversion.export import ExportConfig, export_bundle


def silent(step):
    pass


def export(run_folder, out, **settings):
    data = settings.pop("data", None)
    return export_bundle(run_folder, out, ExportConfig(**({"gate_lists": 8} | settings)), data=data, say=silent)


def names(folder):
    return sorted(path.name for path in folder.iterdir())
