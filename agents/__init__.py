"""What an agent is and how it runs."""
