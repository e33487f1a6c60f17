#!/bin/sh
# Adds packages: install.sh ROOT APT-OPTION PACKAGE...
set -eu
root=$1 option=$2
shift 2
echo "I: paas: packages of the language" >&2
chroot "$root" apt-get -o "$option" -yqq --no-install-recommends install "$@" < /dev/null
