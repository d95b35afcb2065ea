"""Tool calls as text: Hermes JSON and Qwen3-Coder XML, found in streamed text and written."""
