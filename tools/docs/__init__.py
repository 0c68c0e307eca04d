"""`make docs`: what the documents say is checked, and the contract becomes a page."""
