"""Python imports this at its start where `forcing.begin` has put this folder on PYTHONPATH."""

import forcing

forcing.begin()
