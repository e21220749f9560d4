// Many clients at once, good and bad ones, as a process of their own: its end is the end of all that they hold of the
// daemon, as with real clients. (In one that stays, gRPC's library keeps a connection of a channel that is gone now and
// then, one in two thousand, which no daemon can tell from a client that is thinking.)
#pragma once

#include <cstdint>
#include <string>

namespace varve::soak {

struct Crowd {
  std::string address;    // the daemon's
  std::string directory;  // of the clients' contexts
  int clients = 0;        // that build at once, …
  int round = 0;          // … whose contexts are those of this round
  int sessions = 0;       // opened and dropped after that, some at a time
};

// Of `clients`, how many leave before their builds end.
int LeavingEarly(int clients);

// Whether every client that stayed has its build. The others' reasons are written to stderr.
bool Run(const Crowd& crowd);

}  // namespace varve::soak
