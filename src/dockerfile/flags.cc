#include "dockerfile/flags.h"

#include <algorithm>

#include "base/strings.h"
#include "dockerfile/suggest.h"

namespace varve::dockerfile {

Status Flags::Parse(const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    size_t equals = word.find('=');
    std::string shown = word.substr(0, equals);
    std::string name = shown.substr(2);
    bool has_value = equals != std::string::npos;
    std::string value = has_value ? word.substr(equals + 1) : "";

    auto flag =
        std::find_if(known_.begin(), known_.end(), [&](const Flag& f) { return f.name == name; });
    if (flag == known_.end()) {
      std::vector<std::string_view> names;
      for (const Flag& known : known_) names.push_back(known.name);
      return Invalid("unknown flag: {}{}", shown, DidYouMean(name, names, true));
    }
    if (flag->given && flag->kind != Kind::kList) {
      return Invalid("duplicate flag specified: {}", shown);
    }
    flag->given = true;
    if (flag->kind != Kind::kBool) {
      if (!has_value) return Invalid("missing a value on flag: {}", shown);
    } else {
      if (has_value && value.empty()) return Invalid("missing a value on flag: {}", shown);
      std::string lower = ToLower(value);
      if (lower != "true" && lower != "false" && !lower.empty()) {
        return Invalid("expecting boolean value for flag {}, not: {}", shown, value);
      }
      value = lower == "false" ? "false" : "true";
    }
    flag->values.push_back(std::move(value));
  }
  return Ok();
}

std::string Flags::Value(std::string_view name) const {
  const Flag& flag = Find(name);
  return flag.values.empty() ? "" : flag.values.back();
}

const Flags::Flag& Flags::Find(std::string_view name) const {
  auto flag =
      std::find_if(known_.begin(), known_.end(), [&](const Flag& f) { return f.name == name; });
  CHECK(flag != known_.end());
  return *flag;
}

}  // namespace varve::dockerfile
