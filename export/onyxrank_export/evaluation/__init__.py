"""Ranking metrics, the baselines, and the evaluation of a bundle."""
