"""The commands of `theory`: check, predict, interpolate."""
