"""The seven kinds of task: how an answer is read and scored."""
