"""`make image`: builds the container image, looks into it and runs the composition's parts from it."""
