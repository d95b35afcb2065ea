"""Everything that knows Qwen and the wire."""
