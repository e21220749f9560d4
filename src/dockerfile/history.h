// The texts of an image's history, byte for byte as BuildKit's Dockerfile front end writes them
// (reference dockerfile.md §9). They come from Go's fmt verbs %q, %v and %+v, so this is where Go's
// notation of lists and durations lives (of strings: base/go_quote.h).
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "oci/image_config.h"

namespace varve::dockerfile {

inline constexpr std::string_view kHistoryComment = "buildkit.dockerfile.v0";

std::string GoQuotedList(const std::vector<std::string>& items);  // %q: ["a" "b"]
std::string GoList(const std::vector<std::string>& items);        // %v: [a b]
std::string GoDuration(Nanos duration);                           // 1m30s, 1.5s, 100ms, 0s

// "RUN |2 A=1 B=2 /bin/sh -c make # buildkit". `args`: the build arguments in scope.
std::string RunHistory(const std::vector<std::pair<std::string, std::string>>& args,
                       const std::vector<std::string>& argv);

// "HEALTHCHECK {Test:[CMD x] Interval:5s Timeout:0s StartPeriod:0s StartInterval:0s Retries:3}"
std::string HealthcheckHistory(const oci::Healthcheck& check);

}  // namespace varve::dockerfile
