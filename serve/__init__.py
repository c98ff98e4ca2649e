"""Ways to use the assistant besides the command line's own: the chat page and the batch runner."""
