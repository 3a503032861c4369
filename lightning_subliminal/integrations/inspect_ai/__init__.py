"""inspect_ai: suites as tasks, and our models as a provider."""
