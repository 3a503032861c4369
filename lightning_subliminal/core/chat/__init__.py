"""Chat templates: from messages to token ids, and the text that a template writes around the assistant's words."""
