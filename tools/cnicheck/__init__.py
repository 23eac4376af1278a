"""The parts of cni-check."""
