"""What the project is made, built and shipped with. Never part of what runs."""
