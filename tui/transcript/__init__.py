"""The transcript: one widget that keeps up with the stream."""
