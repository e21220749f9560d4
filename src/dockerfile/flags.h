// Flags of one instruction: which exist, which are given.
//
//   Flags flags;
//   flags.AddString("from");  flags.AddBool("link");  flags.AddList("exclude");
//   TRY(flags.Parse(origin.flags));
//   copy.from = flags.Value("from");
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace varve::dockerfile {

class Flags {
 public:
  void AddBool(std::string_view name) { known_.push_back({name, Kind::kBool, {}, false}); }
  void AddString(std::string_view name) { known_.push_back({name, Kind::kString, {}, false}); }
  void AddList(std::string_view name) { known_.push_back({name, Kind::kList, {}, false}); }

  // kInvalid: unknown, twice, without its value.
  Status Parse(const std::vector<std::string>& words);

  bool Given(std::string_view name) const { return Find(name).given; }
  bool IsTrue(std::string_view name) const { return Value(name) == "true"; }
  std::string Value(std::string_view name) const;  // "" when not given
  const std::vector<std::string>& Values(std::string_view name) const { return Find(name).values; }

 private:
  enum class Kind { kBool, kString, kList };
  struct Flag {
    std::string_view name;  // literals
    Kind kind;
    std::vector<std::string> values;
    bool given;
  };
  const Flag& Find(std::string_view name) const;

  std::vector<Flag> known_;
};

}  // namespace varve::dockerfile
