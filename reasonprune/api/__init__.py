"""The HTTP side: what happens to a request before and after vLLM's own routes."""
