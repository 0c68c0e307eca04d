"""`make chart`: lints, renders and judges the Helm chart, with a real Helm engine and without a cluster."""
