#!/bin/sh
# Writes what is in a root folder as a tar: snapshot.sh ROOT OUT
set -eu
echo "I: paas: snapshot" >&2
tar --create --file "$2" --directory "$1" --sort=name --numeric-owner --one-file-system \
  --exclude='./proc/*' --exclude='./sys/*' --exclude='./dev/*' --exclude='./run/*' --exclude='./tmp/*' \
  --exclude='./var/lib/apt/lists/*' --exclude='./var/cache/apt/*' .
echo "I: paas: done" >&2
