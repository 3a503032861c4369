"""Models on servers of `/v1/chat/completions`: calls, stored replies, checks, and the engine that writes with them."""
