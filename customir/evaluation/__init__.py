"""Held-out queries: metrics, significance, the gate, and the comparison of all systems."""
