"""Coverage-guided fuzzing of everything that others write to the bridge: `make fuzz`."""
