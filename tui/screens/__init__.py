"""The screens that open over the chat, one per file; each is imported when it opens."""
