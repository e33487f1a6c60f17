"""SSH and the terminals of `run`: one asyncio process. A connection costs no thread; a push or a command has one while it
goes on.
"""
