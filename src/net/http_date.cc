#include "net/http_date.h"

#include <time.h>

#include <string>

#include "base/strings.h"

namespace varve::net {

std::optional<Timestamp> ParseHttpDate(std::string_view value) {
  const std::string text(TrimSpace(value));
  for (const char* form : {"%a, %d %b %Y %H:%M:%S GMT", "%a, %d %b %Y %H:%M:%S UTC", "%A, %d-%b-%y %H:%M:%S GMT",
                           "%A, %d-%b-%y %H:%M:%S UTC", "%a %b %e %H:%M:%S %Y"}) {
    tm parts{};
    const char* end = strptime(text.c_str(), form, &parts);
    if (end != nullptr && *end == '\0') return Timestamp{int64_t{timegm(&parts)} * 1'000'000'000};
  }
  return {};
}

}  // namespace varve::net
