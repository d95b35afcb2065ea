"""The table of Qwen models: sizes, windows, licences, scores, memory, prices."""
