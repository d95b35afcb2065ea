"""Qianda: the agent framework for Qwen."""
