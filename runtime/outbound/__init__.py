"""Connections to places that people named, such as webhooks: where they may lead, and how long they may take."""
