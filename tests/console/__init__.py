"""The console page in a real headless Chromium; `make console`."""
