"""What `make` runs besides the tests: the environment, and the documents' checks."""
