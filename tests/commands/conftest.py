"""Fixtures: a model, and a DIR that a test may change."""

from full_folder import model, out, whole

__all__ = ["model", "out", "whole"]
