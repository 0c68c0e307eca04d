"""The top floor: introduces the rooms to each other and runs them."""
