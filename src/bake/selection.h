// Which targets a command line means, with everything that they inherit and that it overrides
// (reference compose-bake.md, B6, B12, B13).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "bake/definition.h"

namespace varve::bake {

struct Selection {
  std::map<std::string, Group> groups;    // those that were named, and what they lead to
  std::map<std::string, Target> targets;  // those to build, and those that others take files from

  // {"group": …, "target": …}, as --print shows it.
  Json ToJson() const;
  // Those that others take files from come first.
  std::vector<const Target*> InOrder() const;
};

// `names`: of targets and groups, also patterns; empty: "default". `overrides`: TARGET.KEY[+]=VALUE.
// `environment` gives values to args.NAME without one. kInvalid and kNotFound name what is wrong.
Result<Selection> Select(const Definition& definition, std::vector<std::string> names,
                         const std::vector<std::string>& overrides,
                         const std::map<std::string, std::string>& environment);

}  // namespace varve::bake
