"""The simulated node: a peer to test and to demonstrate against, part of the product."""
