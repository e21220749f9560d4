#!/bin/sh
# The model and the pages, in one container.
set -eu
uvicorn --app-dir model --port 8000 serve:app &
exec node "${WEB:-web}/server.mjs"
