"""The parts of docker-check: a laboratory with an engine of its own, and what is tried in it."""
