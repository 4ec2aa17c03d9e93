#!/bin/sh
# As SeaweedFS's own image: the data belong to its user, and a server's volumes are made in full.
set -eu
if [ "$(id -u)" = 0 ]; then
    chown -R seaweed: /data
    exec setpriv --reuid=seaweed --regid=seaweed --init-groups sh "$0" "$@"
fi
if [ "$1" = server ]; then
    shift
    set -- server -dir=/data -master.volumePreallocate -master.volumeSizeLimitMB=1024 "$@"
fi
exec weed -logtostderr=true "$@"
