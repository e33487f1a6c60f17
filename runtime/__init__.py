"""How a wish becomes processes: a pure library with no Django, no settings and no environment."""
