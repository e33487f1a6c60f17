"""What apps, the router and the platform say, kept for each app beyond the life of its containers.

`record.py`: one line, as a value and as bytes. `store.py`: segment files, written by one process. `read.py`: pages and
tails of them, filtered. `flood.py`: how much a container may say. `access.py`: the router's log. `collector.py`: follows
them all.
"""
