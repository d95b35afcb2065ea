"""Tools shared with Qwen-Agent, both ways; its package is imported where one of these functions is called."""

from qianda.tools.qwen_agent.ours import as_qwen_agent
from qianda.tools.qwen_agent.theirs import QwenAgentTool, qwen_agent_tool

__all__ = ["QwenAgentTool", "as_qwen_agent", "qwen_agent_tool"]
