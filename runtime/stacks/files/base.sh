#!/bin/sh
# Makes a bare Debian our base: users, folders, the launcher. base.sh ROOT FILES
set -eu
root=$1 files=$2
echo 'app:x:1000:' >> "$root/etc/group"
echo 'app:!::' >> "$root/etc/gshadow"
echo 'app:x:1000:1000::/app:/bin/bash' >> "$root/etc/passwd"
echo 'app:!:20089:0:99999:7:::' >> "$root/etc/shadow"
mkdir -p "$root/app" "$root/paas/processes" "$root/paas/profile.d"
chown 1000:1000 "$root/app"
install -m 0755 "$files/launcher" "$files/serve-static" "$root/paas/"
