"""Ways to use the assistant besides the command line's own: the chat page, the server and the batch runner."""
