// Two image configs compared, for those who say what differs between two builds.
#pragma once

#include <string>
#include <vector>

namespace varve::cli {

// The members of two serialised configs that differ: "config.Env", "history". Layers ("rootfs") are
// left out: they are told file by file. Nothing where one is no JSON object.
std::vector<std::string> ConfigDifferences(const std::string& a, const std::string& b);

}  // namespace varve::cli
