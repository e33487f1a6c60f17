"""Hooks out: webhooks, notifications and log drains.

What happened is in the rows of `paas.core.events`. From them come deliveries (webhooks) and messages (notifications),
each a row until it has been sent. Log drains are only written down here: the agent reads the log and sends it.
"""
