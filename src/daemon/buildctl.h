// What other programs call of buildctl, for varved under that name in a container: buildx's docker-container and
// kubernetes drivers reach the daemon through `buildctl dial-stdio`, and ask by `buildctl debug workers` whether
// it is up.
//
//   buildctl [--addr ADDRESS] dial-stdio          the connection, on standard input and output
//   buildctl [--addr ADDRESS] debug workers [-v]  a table of workers; fails while nobody answers
//   buildctl --version
#pragma once

namespace varve::daemon {

// The address is --addr, else $BUILDKIT_HOST, else buildkitd's own default. Returns the exit code.
int BuildctlMain(int argc, char** argv);

}  // namespace varve::daemon
