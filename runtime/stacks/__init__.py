"""The bundled base images: package lists, how they are made from Debian packages, the launcher inside them."""
