"""Measurements. Figures belong here, not into tests."""
