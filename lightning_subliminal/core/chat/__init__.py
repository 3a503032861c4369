"""Chat templates: from messages to token ids, and what a template writes around the assistant's words."""
