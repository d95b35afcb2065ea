"""What takes the prompt's place while a person has to answer."""
