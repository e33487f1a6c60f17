"""Takes memory until the kernel says no."""

print("filling the cache", flush=True)
hoard = []
while True:
    hoard.append(b"x" * (16 * 1024 * 1024))
