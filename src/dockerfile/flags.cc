#include "dockerfile/flags.h"

#include <algorithm>

#include "base/strings.h"
#include "dockerfile/hinted.h"
#include "dockerfile/suggest.h"

namespace varve::dockerfile {

Status Flags::Parse(const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    size_t equals = word.find('=');
    std::string shown = word.substr(0, equals);
    std::string name = shown.substr(2);
    bool has_value = equals != std::string::npos;
    std::string value = has_value ? word.substr(equals + 1) : "";

    auto flag = std::find_if(known_.begin(), known_.end(), [&](const Flag& f) { return f.name == name; });
    if (flag == known_.end()) {
      std::vector<std::string_view> names;
      for (const Flag& known : known_) names.push_back(known.name);
      std::string hint = names.empty() ? "no flags are known here" : "known here: " + OneOf(names);
      return Hinted(Invalid("unknown flag: {}{}", shown, DidYouMean(name, names, true)), hint);
    }
    if (flag->given && flag->kind != Kind::kList) {
      return Hinted(Invalid("duplicate flag specified: {}", shown), "it can be given once");
    }
    flag->given = true;
    if (flag->kind != Kind::kBool) {
      if (!has_value) {
        return Hinted(Invalid("missing a value on flag: {}", shown), "write " + shown + "=VALUE");
      }
    } else {
      auto use = [&] { return fmt::format("write {0}, {0}=true or {0}=false", shown); };
      if (has_value && value.empty()) {
        return Hinted(Invalid("missing a value on flag: {}", shown), use());
      }
      std::string lower = ToLower(value);
      if (lower != "true" && lower != "false" && !lower.empty()) {
        return Hinted(Invalid("expecting boolean value for flag {}, not: {}", shown, value), use());
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
  auto flag = std::find_if(known_.begin(), known_.end(), [&](const Flag& f) { return f.name == name; });
  CHECK(flag != known_.end());
  return *flag;
}

}  // namespace varve::dockerfile
