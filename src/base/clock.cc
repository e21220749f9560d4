#include "base/clock.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace varve {

namespace {

class RealClock final : public Clock {
 public:
  Timestamp Now() override { return {Get(CLOCK_REALTIME)}; }
  Nanos Monotonic() override { return Nanos(Get(CLOCK_MONOTONIC)); }

 private:
  static int64_t Get(clockid_t id) {
    timespec ts;
    clock_gettime(id, &ts);
    return static_cast<int64_t>(ts.tv_sec) * 1'000'000'000 + ts.tv_nsec;
  }
};

bool TakeDigits(std::string_view& text, size_t n, int* value) {
  if (text.size() < n) return false;
  *value = 0;
  for (size_t i = 0; i < n; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    *value = *value * 10 + (text[i] - '0');
  }
  text.remove_prefix(n);
  return true;
}

bool Take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

Clock& SystemClock() {
  static RealClock clock;
  return clock;
}

std::string FormatTime(Timestamp time) {
  time_t seconds = time.seconds();
  int64_t fraction = time.nanos - static_cast<int64_t>(seconds) * 1'000'000'000;
  tm parts;
  gmtime_r(&seconds, &parts);
  std::string out = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", parts.tm_year + 1900, parts.tm_mon + 1,
                                parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
  if (fraction != 0) {
    std::string digits = fmt::format("{:09}", fraction);
    digits.erase(digits.find_last_not_of('0') + 1);
    out += "." + digits;
  }
  return out + "Z";
}

Result<Timestamp> ParseTime(std::string_view rfc3339) {
  std::string_view text = rfc3339;
  auto bad = [&] { return Invalid("\"{}\" is not an RFC 3339 time", rfc3339); };
  tm parts{};
  if (!TakeDigits(text, 4, &parts.tm_year) || !Take(text, '-') || !TakeDigits(text, 2, &parts.tm_mon) ||
      !Take(text, '-') || !TakeDigits(text, 2, &parts.tm_mday) || !(Take(text, 'T') || Take(text, 't')) ||
      !TakeDigits(text, 2, &parts.tm_hour) || !Take(text, ':') || !TakeDigits(text, 2, &parts.tm_min) ||
      !Take(text, ':') || !TakeDigits(text, 2, &parts.tm_sec)) {
    return bad();
  }
  int64_t fraction = 0;
  if (Take(text, '.')) {
    int64_t scale = 100'000'000;
    bool any = false;
    while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
      fraction += (text[0] - '0') * scale;
      scale /= 10;
      any = true;
      text.remove_prefix(1);
    }
    if (!any) return bad();
  }
  int64_t offset = 0;
  if (Take(text, 'Z') || Take(text, 'z')) {
  } else {
    int sign = Take(text, '+') ? 1 : Take(text, '-') ? -1 : 0;
    int hours = 0, minutes = 0;
    if (sign == 0 || !TakeDigits(text, 2, &hours) || !Take(text, ':') || !TakeDigits(text, 2, &minutes)) {
      return bad();
    }
    offset = sign * (hours * 3600 + minutes * 60);
  }
  if (!text.empty()) return bad();
  // What 64 bits of nanoseconds hold. Go's zero time, year 1, is met in image configs.
  if (parts.tm_year < 1678 || parts.tm_year > 2261) return bad();
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  return Timestamp{(timegm(&parts) - offset) * 1'000'000'000 + fraction};
}

std::string FormatDuration(Nanos duration) {
  double seconds = static_cast<double>(duration.count()) / 1e9;
  if (seconds < 0.0995) return fmt::format("{:.0f}ms", seconds * 1000);
  if (seconds < 59.95) return fmt::format("{:.1f}s", seconds);
  auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}h{:02}m", whole / 3600, whole / 60 % 60);
}

std::string FormatAge(Nanos age) {
  int64_t seconds = std::max<int64_t>(0, age.count() / 1'000'000'000);
  auto text = [](int64_t n, const char* unit) { return fmt::format("{} {}{}", n, unit, n == 1 ? "" : "s"); };
  if (seconds < 60) return text(seconds, "second");
  if (seconds < 3600) return text(seconds / 60, "minute");
  if (seconds < 48 * 3600) return text(seconds / 3600, "hour");
  return text(seconds / 86400, "day");
}

std::string FormatTimeAgo(Timestamp then, Timestamp now) {
  Nanos age(now.nanos - then.nanos);
  return age < std::chrono::seconds(1) ? "just now" : FormatAge(age) + " ago";
}

Result<Nanos> ParseGoDuration(std::string_view text) {
  auto bad = [&] { return Invalid("\"{}\" is not a duration such as 30s, 1m30s or 500ms", text); };
  std::string_view rest = text;
  bool negative = Take(rest, '-');
  if (!negative) Take(rest, '+');
  if (rest == "0") return Nanos(0);
  if (rest.empty()) return bad();
  double total = 0;
  while (!rest.empty()) {
    double value = 0, scale = 1;
    bool digits = false, point = false;
    while (!rest.empty() && ((rest[0] >= '0' && rest[0] <= '9') || (rest[0] == '.' && !point))) {
      if (rest[0] == '.') {
        point = true;
      } else {
        digits = true;
        value = value * 10 + (rest[0] - '0');
        if (point) scale *= 10;
      }
      rest.remove_prefix(1);
    }
    if (!digits) return bad();
    static constexpr std::pair<std::string_view, double> kUnits[] = {{"ns", 1},  {"us", 1e3}, {"µs", 1e3},  {"ms", 1e6},
                                                                     {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
    bool found = false;
    for (auto [unit, nanos] : kUnits) {
      if (unit == "m" && rest.starts_with("ms")) continue;
      if (rest.starts_with(unit)) {
        total += value / scale * nanos;
        rest.remove_prefix(unit.size());
        found = true;
        break;
      }
    }
    if (!found) return bad();
  }
  if (total > 9.2e18) return bad();
  return Nanos(static_cast<int64_t>(std::llround(negative ? -total : total)));
}

}  // namespace varve
