"""Training of the recommenders by transformers' Trainer."""
