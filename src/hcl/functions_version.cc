// semvercmp: versions and constraints as Masterminds/semver v3 reads them (semver.org 2.0.0; its
// README for constraints).
#include <algorithm>
#include <array>

#include "base/strings.h"
#include "hcl/function_table.h"

namespace varve::hcl {

namespace {

struct Version {
  std::array<int64_t, 3> numbers{};
  std::vector<std::string> prerelease;
  int given = 0;  // how many of the numbers were written
};

std::strong_ordering ComparePrerelease(const Version& a, const Version& b) {
  if (a.prerelease.empty() || b.prerelease.empty()) return b.prerelease.size() <=> a.prerelease.size();
  for (size_t i = 0; i < std::min(a.prerelease.size(), b.prerelease.size()); ++i) {
    auto x = ParseInt(a.prerelease[i]), y = ParseInt(b.prerelease[i]);
    auto order = x && y ? *x <=> *y
                 : x    ? std::strong_ordering::less
                 : y    ? std::strong_ordering::greater
                        : a.prerelease[i] <=> b.prerelease[i];
    if (order != 0) return order;
  }
  return a.prerelease.size() <=> b.prerelease.size();
}

std::strong_ordering Compare(const Version& a, const Version& b) {
  if (auto order = a.numbers <=> b.numbers; order != 0) return order;
  return ComparePrerelease(a, b);
}

// With `wild`, x, X and * stand for what is not given.
std::optional<Version> ParseVersion(std::string_view text, bool wild) {
  if (text.starts_with('v')) text.remove_prefix(1);
  text = text.substr(0, text.find('+'));
  Version version;
  size_t dash = text.find('-');
  std::vector<std::string> numbers = Split(text.substr(0, dash), '.');
  if (numbers.size() > 3) return std::nullopt;
  bool open = false;
  for (const std::string& part : numbers) {
    if (wild && (part == "x" || part == "X" || part == "*")) {
      open = true;
      continue;
    }
    bool digits = !part.empty() && part.find_first_not_of("0123456789") == part.npos && part.size() < 18;
    if (!digits || (part.size() > 1 && part[0] == '0')) return std::nullopt;
    if (!open) version.numbers[static_cast<size_t>(version.given++)] = *ParseInt(part);
  }
  if (dash == text.npos) return version;
  version.prerelease = Split(text.substr(dash + 1), '.');
  for (const std::string& part : version.prerelease) {
    if (part.empty() ||
        part.find_first_not_of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-") != part.npos)
      return std::nullopt;
  }
  return version;
}

struct Constraint {
  std::string op;
  Version version;
};

bool Holds(const Constraint& constraint, const Version& version) {
  const Version& wanted = constraint.version;
  const std::string& op = constraint.op;
  // A prerelease satisfies only what names one.
  if (!version.prerelease.empty() && wanted.prerelease.empty() && op != "!=") return false;
  auto same = [&](int count) {
    for (int i = 0; i < count; ++i) {
      if (version.numbers[static_cast<size_t>(i)] != wanted.numbers[static_cast<size_t>(i)]) return false;
    }
    return true;
  };
  auto order = Compare(version, wanted);
  const bool partial = wanted.given < 3;
  if (op == "" || op == "=") return partial ? same(wanted.given) : order == 0;
  if (op == "!=") return partial ? !same(wanted.given) : order != 0;
  if (op == ">") return partial ? order > 0 && !same(wanted.given) : order > 0;
  if (op == ">=" || op == "=>") return order >= 0;
  if (op == "<") return order < 0;
  if (op == "<=" || op == "=<") return partial ? order < 0 || same(wanted.given) : order <= 0;
  if (order < 0) return false;
  if (op == "~" || op == "~>") return same(std::min(wanted.given, 2));
  // ^: up to the first number that is not zero.
  if (wanted.numbers[0] > 0 || wanted.given <= 1) return same(wanted.given == 0 ? 0 : 1);
  if (wanted.numbers[1] > 0 || wanted.given == 2) return same(2);
  return same(3);
}

Result<std::vector<Constraint>> ParseGroup(const std::string& text, const std::string& whole) {
  auto bad = [&] { return Invalid("improper constraint: {}", whole); };
  std::vector<Constraint> all;
  std::string_view rest = text;
  auto skip = [&] {
    while (!rest.empty() && (rest[0] == ' ' || rest[0] == ',' || rest[0] == '\t')) rest.remove_prefix(1);
  };
  for (skip(); !rest.empty(); skip()) {
    size_t op_end = std::min(rest.find_first_not_of("=!<>~^"), rest.size());
    Constraint constraint{.op = std::string(rest.substr(0, op_end))};
    static constexpr std::string_view kOps[] = {"", "=", "!=", ">", "<", ">=", "=>", "<=", "=<", "~", "~>", "^"};
    if (std::ranges::find(kOps, constraint.op) == std::end(kOps)) return bad();
    rest.remove_prefix(op_end);
    while (rest.starts_with(' ')) rest.remove_prefix(1);
    size_t end = std::min(rest.find_first_of(" ,\t=!<>~^"), rest.size());
    auto version = ParseVersion(rest.substr(0, end), true);
    if (end == 0 || !version) return bad();
    rest.remove_prefix(end);
    constraint.version = *version;
    // "1.2 - 1.4.5" is >=1.2 <=1.4.5.
    if (rest.starts_with(" - ")) {
      constraint.op = ">=";
      all.push_back(constraint);
      rest.remove_prefix(3);
      size_t second = std::min(rest.find_first_of(" ,"), rest.size());
      auto upper = ParseVersion(rest.substr(0, second), true);
      if (!upper) return bad();
      all.push_back({"<=", *upper});
      rest.remove_prefix(second);
      continue;
    }
    all.push_back(std::move(constraint));
  }
  if (all.empty()) return bad();
  return all;
}

}  // namespace

void AddVersionFunctions(FunctionTable& table) {
  Define(table, "semvercmp", {{Type::String(), Type::String()}}, [](const Arguments& a) -> Result<Value> {
    auto version = ParseVersion(a[0].as_string(), false);
    if (!version || a[0].as_string().empty()) return Invalid("invalid semantic version");
    bool any = false;
    for (std::string group : Split(ReplaceAll(a[1].as_string(), "||", "\n"), '\n')) {
      TRY_ASSIGN(auto constraints, ParseGroup(group, a[1].as_string()));
      any = any || std::ranges::all_of(constraints, [&](const Constraint& c) { return Holds(c, *version); });
    }
    return Value(any);
  });
}

}  // namespace varve::hcl
