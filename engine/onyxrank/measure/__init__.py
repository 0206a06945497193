"""Measuring on this machine: latency side by side, requests of a given size, memory. Import from where it lives."""
