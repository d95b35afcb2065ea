"""The prompt: the editor and what helps to write in it."""
