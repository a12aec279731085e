"""Where tokens come from: a live vLLM engine, or recorded traces."""
