#!/bin/sh
# Deploys the two services on this server.
#
#   ./deploy.sh                   builds what changed
#   FORCE_REBUILD=1 ./deploy.sh   builds everything again, with the newest base images
#   CLEAR_CACHE=1 ./deploy.sh     as on a new server
#
# BUILD is the builder's command for Compose files.
set -eu
cd "$(dirname "$0")"
BUILD=${BUILD:-docker compose build}
CLEAR=${CLEAR:-docker system prune --all --force --volumes}
export GIT_COMMIT_HASH="${GIT_COMMIT_HASH:-$(git rev-parse --short HEAD)}"
[ -z "${CLEAR_CACHE:-}" ] || $CLEAR
flags=
[ -z "${FORCE_REBUILD:-}" ] || flags="--no-cache --pull"
# shellcheck disable=SC2086
$BUILD $flags
