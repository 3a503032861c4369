"""What a fit needs, before any weights are loaded: parameters, memory per device, FLOPs and hours."""
