"""`make release-check`: what a release would upload, built, judged, and tried in an empty environment."""
