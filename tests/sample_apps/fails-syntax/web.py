"""Python refuses to compile this file, and says so when the process boots."""

def serve(:
    pass
