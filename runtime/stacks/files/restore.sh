#!/bin/sh
# Puts a layer into a root folder: restore.sh ROOT TAR
set -eu
# Where packages come from is this run's own affair, and written already.
tar --exclude='etc/apt/sources.list*' --extract --file "$2" --directory "$1" --numeric-owner --keep-directory-symlink --overwrite
find "$1" -xdev -name '.wh.*' | while read -r mark; do
  rm -rf -- "$mark" "${mark%/*}/${mark##*/.wh.}"
done
