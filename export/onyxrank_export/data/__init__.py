"""Input data: reading and checking it, splitting it, and the demo shop."""
