#include "dockerfile/history.h"

#include <fmt/core.h>

#include "base/go_quote.h"
#include "base/strings.h"

namespace varve::dockerfile {

std::string GoQuotedList(const std::vector<std::string>& items) {
  std::vector<std::string> quoted;
  for (const std::string& item : items) quoted.push_back(GoQuote(item));
  return GoList(quoted);
}

std::string GoList(const std::vector<std::string>& items) { return "[" + Join(items, " ") + "]"; }

std::string GoDuration(Nanos duration) {
  int64_t nanos = duration.count();
  if (nanos == 0) return "0s";
  std::string sign = nanos < 0 ? "-" : "";
  uint64_t rest = nanos < 0 ? -static_cast<uint64_t>(nanos) : static_cast<uint64_t>(nanos);
  auto decimal = [](uint64_t value, uint64_t unit) {
    std::string text = std::to_string(value / unit);
    std::string fraction = std::to_string(unit + value % unit).substr(1);
    while (!fraction.empty() && fraction.back() == '0') fraction.pop_back();
    return fraction.empty() ? text : text + "." + fraction;
  };
  if (rest < 1000) return fmt::format("{}{}ns", sign, rest);
  if (rest < 1'000'000) return sign + decimal(rest, 1000) + "µs";
  if (rest < 1'000'000'000) return sign + decimal(rest, 1'000'000) + "ms";
  uint64_t minutes = rest / 60'000'000'000;
  std::string out = sign;
  if (minutes >= 60) out += fmt::format("{}h", minutes / 60);
  if (minutes > 0) out += fmt::format("{}m", minutes % 60);
  return out + decimal(rest % 60'000'000'000, 1'000'000'000) + "s";
}

std::string RunHistory(const std::vector<std::pair<std::string, std::string>>& args,
                       const std::vector<std::string>& argv) {
  std::vector<std::string> words;
  if (!args.empty()) words.push_back(fmt::format("|{}", args.size()));
  for (const auto& [name, value] : args) words.push_back(name + "=" + value);
  words.insert(words.end(), argv.begin(), argv.end());
  return "RUN " + Join(words, " ") + " # buildkit";
}

std::string HealthcheckHistory(const oci::Healthcheck& check) {
  return fmt::format("HEALTHCHECK {{Test:{} Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
                     GoList(check.test), GoDuration(check.interval), GoDuration(check.timeout),
                     GoDuration(check.start_period), GoDuration(check.start_interval), check.retries);
}

}  // namespace varve::dockerfile
