"""How the pocket bases are made, and how good they are."""
