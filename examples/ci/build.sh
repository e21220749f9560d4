#!/bin/sh
# A plain shell, from cron or by hand: one cache on a shared disk for several machines, a summary, and metrics for the
# node exporter.
#
#   IMAGE=app CACHE=/mnt/shared/varve METRICS=/var/lib/prometheus/node-exporter/varve.prom build.sh [CONTEXT]
set -eu
: "${IMAGE:=app}" "${CACHE:=/var/cache/varve-tier}"
set -- "${1:-.}"
if [ -n "${METRICS:-}" ]; then
  set -- --metrics-file "$METRICS" "$@"
fi
exec varve build \
  --cache-from "type=local,src=$CACHE" \
  --cache-to "type=local,dest=$CACHE,mode=max,max-size=20g" \
  --summary summary.md \
  -t "$IMAGE" "$@"
