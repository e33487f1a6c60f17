"""Server-Sent Events: build logs, log tails, state changes. One asyncio process without Django, for hundreds of readers.

Who may see what is decided where pages are: `grants.py` asks the web process. A reader pulls at its own pace from a file
or from memory, so that a slow one costs nothing but its connection.
"""
