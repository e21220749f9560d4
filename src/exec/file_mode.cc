#include "exec/file_mode.h"

#include <string>

#include "base/strings.h"

namespace varve::exec {

namespace {

constexpr uint32_t kUser = 04700, kGroup = 02070, kOther = 01007;

uint32_t WhoMask(char c) {
  switch (c) {
    case 'u':
      return kUser;
    case 'g':
      return kGroup;
    case 'o':
      return kOther;
    default:
      return kUser | kGroup | kOther;
  }
}

}  // namespace

Result<FileMode> FileMode::Parse(std::string_view text) {
  auto bad = [&] {
    Error error = Invalid("invalid mode \"{}\"", text);
    error.hint = "use octal digits (0755) or symbolic clauses (u=rwX,go=rX)";
    return error;
  };
  FileMode mode;
  if (text.empty()) return mode;
  if (text[0] >= '0' && text[0] <= '9') {
    auto value = ParseInt(text, 8);
    if (!value || *value > 07777) return bad();
    mode.octal_ = true;
    mode.value_ = static_cast<uint32_t>(*value);
    return mode;
  }
  for (const std::string& clause : Split(text, ',')) {
    size_t at = 0;
    uint32_t who = 0;
    while (at < clause.size() && std::string_view("ugoa").find(clause[at]) != std::string_view::npos) {
      who |= WhoMask(clause[at++]);
    }
    if (who == 0) who = WhoMask('a');
    if (at == clause.size()) return bad();
    while (at < clause.size()) {
      Change change{.who = who, .op = clause[at++]};
      if (change.op != '+' && change.op != '-' && change.op != '=') return bad();
      for (; at < clause.size() && std::string_view("+-=").find(clause[at]) == std::string_view::npos; ++at) {
        switch (clause[at]) {
          case 'r':
            change.bits |= 0444;
            break;
          case 'w':
            change.bits |= 0222;
            break;
          case 'x':
            change.bits |= 0111;
            break;
          case 'X':
            change.execute_if = true;
            break;
          case 's':
            change.bits |= 06000;
            break;
          case 't':
            change.bits |= 01000;
            break;
          case 'u':
          case 'g':
          case 'o':
            change.copy_from = clause[at];
            break;
          default:
            return bad();
        }
      }
      mode.changes_.push_back(change);
    }
  }
  return mode;
}

uint32_t FileMode::Apply(uint32_t mode, bool is_directory) const {
  if (octal_) return value_;
  for (const Change& change : changes_) {
    uint32_t bits = change.bits;
    if (change.execute_if && (is_directory || (mode & 0111) != 0)) bits |= 0111;
    if (change.copy_from != 0) {
      int shift = change.copy_from == 'u' ? 6 : change.copy_from == 'g' ? 3 : 0;
      bits |= (mode >> shift & 7) * 0111;
    }
    bits &= change.who;
    if (change.op == '+') mode |= bits;
    if (change.op == '-') mode &= ~bits;
    if (change.op == '=') {
      // chmod(1): "=" on a directory keeps its setuid and setgid bits unless they are named.
      uint32_t cleared = is_directory ? change.who & ~06000u : change.who;
      mode = (mode & ~cleared) | bits;
    }
  }
  return mode & 07777;
}

}  // namespace varve::exec
