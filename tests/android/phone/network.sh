#!/bin/sh
# A place for emulated phones: a network without ways out, and arm64 programs that run.
#
#   unshare --user --map-root-user --mount --net --fork --kill-child network.sh EMULATOR
#
# Prints `ready` and stays. The binfmt_misc of a user namespace is its own; nothing of
# the machine changes.
set -eu
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
MAGIC='\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
MASK='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
printf '%s' ":qemu-aarch64:M::$MAGIC:$MASK:$1:OCF" >/proc/sys/fs/binfmt_misc/register
ip link set lo up
echo ready
exec sleep infinity
