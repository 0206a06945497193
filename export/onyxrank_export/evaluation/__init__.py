"""Evaluation: ranking metrics, the baselines, and the quality of a bundle on held-out lists."""
