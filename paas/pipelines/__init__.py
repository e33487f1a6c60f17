"""Apps by stage, and the same image released in one after the other."""
