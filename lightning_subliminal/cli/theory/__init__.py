"""The verb ``theory``: the theorem checked, transfer predicted, lines between models."""
