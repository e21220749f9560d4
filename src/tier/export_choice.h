// Which layers an export sends, and in which order: pure functions.
//
// A layer is of use only with those below it, so it is never sent without them. What is worth most
// goes first, in the order in which a tier that is full gives up what is worth least, backwards
// (cache/retention.h): seconds that it took to make, per byte.
//
// mode=auto sends what saves more time than it costs to move. For a layer with everything below it that
// is not there yet, and with what is worth it on top of it:
//
//   seconds to make again  >  bytes / upload rate + bytes / download rate + 2 × latency
//
// that is, it pays when it is used once. Rates are measured: downloads of this build from the tier, and
// the export itself, whose choice is made again after each layer that was sent. Bytes are those of the
// layer before it is packed, in the rates as in the sizes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/clock.h"
#include "tier/tier.h"

namespace varve::tier {

struct LayerValue {
  DiffId layer;
  std::optional<DiffId> below;  // the next of the offered layers below it
  uint64_t bytes = 0;           // not packed
  double seconds = 0;           // to make again
};

// The offered layers that `layers` names, most valuable first; a layer is after those below it.
std::vector<LayerValue> ByValue(const std::vector<Offer::Record>& records, const std::set<DiffId>& layers,
                                Timestamp now);

struct Rates {
  // Until something was measured: what a hosted runner has at least.
  double up = 25e6, down = 50e6;  // bytes a second
  double latency = 0.1;           // seconds a request
};

// Those that are worth moving. `there` need not be moved again.
std::set<DiffId> WorthMoving(const std::vector<LayerValue>& layers, const std::set<DiffId>& there, const Rates& rates);

}  // namespace varve::tier
