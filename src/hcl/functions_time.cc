// Timestamps (RFC 3339), cty's format of them, durations.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>

#include "base/strings.h"
#include "hcl/function_table.h"

namespace varve::hcl {

namespace {

struct Moment {
  int64_t seconds = 0;  // since 1970, UTC
  int64_t nanos = 0;
  int offset = 0;  // of the zone, in seconds
};

constexpr const char* kMonths[] = {"January", "February", "March",     "April",   "May",      "June",
                                   "July",    "August",   "September", "October", "November", "December"};
constexpr const char* kDays[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

tm Civil(const Moment& moment) {
  time_t local = moment.seconds + moment.offset;
  tm parts{};
  gmtime_r(&local, &parts);
  return parts;
}

Result<Moment> ParseTime(const std::string& text) {
  int year, month, day, hour, minute, second, read = 0;
  auto bad = [&] { return Invalid("not a valid RFC3339 timestamp: \"{}\"", text); };
  bool shape =
      text.size() >= 20 && text[4] == '-' && text[7] == '-' && text[10] == 'T' && text[13] == ':' && text[16] == ':';
  if (!shape ||
      std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d%n", &year, &month, &day, &hour, &minute, &second, &read) !=
          6 ||
      read != 19)
    return bad();
  std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                   std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || hour > 23 || minute > 59 || second > 59) return bad();
  Moment moment;
  moment.seconds =
      std::chrono::sys_days(date).time_since_epoch().count() * 86400LL + hour * 3600 + minute * 60 + second;
  std::string_view rest = std::string_view(text).substr(19);
  if (rest.starts_with('.')) {
    size_t digits = rest.find_first_not_of("0123456789", 1);
    if (digits == rest.npos || digits < 2) return bad();
    std::string fraction(rest.substr(1, std::min<size_t>(digits - 1, 9)));
    fraction.resize(9, '0');
    moment.nanos = *ParseInt(fraction);
    rest.remove_prefix(digits);
  }
  if (rest == "Z") return moment;
  if (rest.size() != 6 || (rest[0] != '+' && rest[0] != '-') || rest[3] != ':') return bad();
  auto hours = ParseInt(rest.substr(1, 2)), minutes = ParseInt(rest.substr(4));
  if (!hours || !minutes || *hours > 23 || *minutes > 59) return bad();
  moment.offset = static_cast<int>(*hours * 3600 + *minutes * 60) * (rest[0] == '-' ? -1 : 1);
  moment.seconds -= moment.offset;
  return moment;
}

std::string Zone(int offset, bool colon, bool z) {
  if (offset == 0 && z) return "Z";
  int minutes = std::abs(offset) / 60;
  return fmt::format("{}{:02}{}{:02}", offset < 0 ? '-' : '+', minutes / 60, colon ? ":" : "", minutes % 60);
}

std::string Rfc3339(const Moment& moment) {
  tm t = Civil(moment);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour,
                     t.tm_min, t.tm_sec, Zone(moment.offset, true, true));
}

// cty's verbs are runs of one letter; text stands in single quotes.
Result<std::string> FormatTime(const std::string& format, const Moment& moment) {
  tm t = Civil(moment);
  std::string out;
  for (size_t i = 0; i < format.size();) {
    char c = format[i];
    if (c == '\'') {
      size_t end = i + 1;
      for (;; ++end) {
        if (end >= format.size()) return Invalid("unterminated literal '");
        if (format[end] != '\'') {
          out += format[end];
        } else if (end + 1 < format.size() && format[end + 1] == '\'') {
          out += format[end++];
        } else {
          break;
        }
      }
      i = end + 1;
      continue;
    }
    if (!isalpha(static_cast<unsigned char>(c))) {
      out += c;
      ++i;
      continue;
    }
    size_t n = std::min(format.find_first_not_of(c, i), format.size()) - i;
    std::string verb = format.substr(i, n);
    i += n;
    int hour12 = t.tm_hour % 12 == 0 ? 12 : t.tm_hour % 12;
    if (verb == "YY") out += fmt::format("{:02}", t.tm_year % 100);
    else if (verb == "YYYY") out += fmt::format("{:04}", t.tm_year + 1900);
    else if (verb == "M") out += std::to_string(t.tm_mon + 1);
    else if (verb == "MM") out += fmt::format("{:02}", t.tm_mon + 1);
    else if (verb == "MMM") out += std::string(kMonths[t.tm_mon]).substr(0, 3);
    else if (verb == "MMMM") out += kMonths[t.tm_mon];
    else if (verb == "D") out += std::to_string(t.tm_mday);
    else if (verb == "DD") out += fmt::format("{:02}", t.tm_mday);
    else if (verb == "EEE") out += std::string(kDays[t.tm_wday]).substr(0, 3);
    else if (verb == "EEEE") out += kDays[t.tm_wday];
    else if (verb == "h") out += std::to_string(t.tm_hour);
    else if (verb == "hh") out += fmt::format("{:02}", t.tm_hour);
    else if (verb == "H") out += std::to_string(hour12);
    else if (verb == "HH") out += fmt::format("{:02}", hour12);
    else if (verb == "AA") out += t.tm_hour < 12 ? "AM" : "PM";
    else if (verb == "aa") out += t.tm_hour < 12 ? "am" : "pm";
    else if (verb == "m") out += std::to_string(t.tm_min);
    else if (verb == "mm") out += fmt::format("{:02}", t.tm_min);
    else if (verb == "s") out += std::to_string(t.tm_sec);
    else if (verb == "ss") out += fmt::format("{:02}", t.tm_sec);
    else if (verb == "Z") out += Zone(moment.offset, true, true);
    else if (verb == "ZZZ") out += moment.offset == 0 ? "UTC" : Zone(moment.offset, false, false);
    else if (verb == "ZZZZ") out += Zone(moment.offset, false, false);
    else if (verb == "ZZZZZ") out += Zone(moment.offset, true, false);
    else
      return Invalid(
          "invalid date format verb \"{}\": use runs of Y, M, D, E, h, H, A, a, m, s or Z, and quote text with single "
          "quotes",
          verb);
  }
  return out;
}

// Go's time.ParseDuration: "1h30m", "-2.5s".
Result<int64_t> ParseDuration(std::string_view text) {
  const std::string whole(text);
  auto bad = [&] { return Invalid("not a valid duration: \"{}\"", whole); };
  bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text == "0") return 0;
  if (text.empty()) return bad();
  static constexpr std::pair<std::string_view, double> kUnits[] = {{"ns", 1},  {"us", 1e3}, {"µs", 1e3},  {"ms", 1e6},
                                                                   {"s", 1e9}, {"m", 6e10}, {"h", 3.6e12}};
  long double total = 0;
  while (!text.empty()) {
    size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
    auto number = ParseNumber(text.substr(0, end));
    text.remove_prefix(end);
    size_t unit_end = std::min(text.find_first_of("0123456789."), text.size());
    auto unit = std::ranges::find(kUnits, text.substr(0, unit_end), &std::pair<std::string_view, double>::first);
    if (!number || unit == std::end(kUnits)) return bad();
    total += *number * static_cast<long double>(unit->second);
    text.remove_prefix(unit_end);
  }
  if (total > 9e18L) return bad();
  return static_cast<int64_t>(negative ? -total : total);
}

Result<Value> UnixParse(const Arguments& a) {
  auto seconds = WholeNumber(a[0], "unix timestamp");
  if (!seconds) return Invalid("unix timestamp must be an integer");
  Moment moment{.seconds = *seconds};
  tm t = Civil(moment);
  char week[8], year[8];
  strftime(week, sizeof week, "%V", &t);
  strftime(year, sizeof year, "%G", &t);
  return Value::Object({{"year", Value::Number(t.tm_year + 1900)},
                        {"year_day", Value::Number(t.tm_yday + 1)},
                        {"day", Value::Number(t.tm_mday)},
                        {"month", Value::Number(t.tm_mon + 1)},
                        {"month_name", kMonths[t.tm_mon]},
                        {"weekday", Value::Number(t.tm_wday)},
                        {"weekday_name", kDays[t.tm_wday]},
                        {"hour", Value::Number(t.tm_hour)},
                        {"minute", Value::Number(t.tm_min)},
                        {"second", Value::Number(t.tm_sec)},
                        {"rfc3339", Rfc3339(moment)},
                        {"iso_year", Value::Number(std::atoi(year))},
                        {"iso_week", Value::Number(std::atoi(week))}});
}

}  // namespace

void AddTimeFunctions(FunctionTable& table) {
  const Type text = Type::String();
  Define(table, "timestamp", {{}},
         [](const Arguments&) -> Result<Value> { return Value(Rfc3339({.seconds = time(nullptr)})); });
  Define(table, "formatdate", {{text, text}}, [](const Arguments& a) -> Result<Value> {
    TRY_ASSIGN(Moment moment, ParseTime(a[1].as_string()));
    TRY_ASSIGN(std::string out, FormatTime(a[0].as_string(), moment));
    return Value(std::move(out));
  });
  Define(table, "formattimestamp", {{text, Type::Any()}}, [](const Arguments& a) -> Result<Value> {
    Moment moment;
    if (a[1].is_string()) {
      TRY_ASSIGN(moment, ParseTime(a[1].as_string()));
    } else if (a[1].is_number()) {
      if (!WholeNumber(a[1], "")) return Invalid("unix timestamp must be an integer");
      moment.seconds = static_cast<int64_t>(a[1].as_number());
    } else {
      return Invalid("must be a string timestamp or a unix timestamp number");
    }
    if (a[0].as_string() == "X") return Value(std::to_string(moment.seconds));
    TRY_ASSIGN(std::string out, FormatTime(a[0].as_string(), moment));
    return Value(std::move(out));
  });
  Define(table, "timeadd", {{text, text}}, [](const Arguments& a) -> Result<Value> {
    TRY_ASSIGN(Moment moment, ParseTime(a[0].as_string()));
    TRY_ASSIGN(int64_t nanos, ParseDuration(a[1].as_string()));
    __int128 total = static_cast<__int128>(moment.seconds) * 1'000'000'000 + moment.nanos + nanos;
    auto seconds = static_cast<int64_t>(total / 1'000'000'000);
    if (total % 1'000'000'000 < 0) --seconds;
    moment.seconds = seconds;
    return Value(Rfc3339(moment));
  });
  Define(table, "unixtimestampparse", {{Type::Number()}}, UnixParse);
}

}  // namespace varve::hcl
