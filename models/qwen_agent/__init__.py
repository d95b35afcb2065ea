"""Qwen-Agent, the Qwen team's own framework: loading it without a trace, and its model backends as ours."""

from qianda.models.qwen_agent.loading import load_qwen_agent
from qianda.models.qwen_agent.server import qwen_agent_server

__all__ = ["load_qwen_agent", "qwen_agent_server"]
