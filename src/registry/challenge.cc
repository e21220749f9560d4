#include "registry/challenge.h"

#include "base/strings.h"

namespace varve::registry {

namespace {

// RFC 9110 §5.6.2.
bool IsTokenByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool AtEnd() const { return rest_.empty(); }
  void SkipSpace() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t')) rest_.remove_prefix(1);
  }
  void SkipSeparators() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t' || rest_[0] == ',')) {
      rest_.remove_prefix(1);
    }
  }
  bool Take(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::string Token() {
    size_t n = 0;
    while (n < rest_.size() && IsTokenByte(rest_[n])) ++n;
    std::string out(rest_.substr(0, n));
    rest_.remove_prefix(n);
    return out;
  }
  std::string Value() {
    if (!Take('"')) return Token();
    std::string out;
    while (!rest_.empty() && rest_[0] != '"') {
      if (rest_[0] == '\\' && rest_.size() > 1) rest_.remove_prefix(1);
      out += rest_[0];
      rest_.remove_prefix(1);
    }
    Take('"');
    return out;
  }

 private:
  std::string_view rest_;
};

}  // namespace

std::string Challenge::Get(const std::string& name) const {
  auto found = parameters.find(name);
  return found == parameters.end() ? "" : found->second;
}

std::vector<Challenge> ParseChallenges(const std::vector<std::string_view>& headers) {
  std::vector<Challenge> out;
  for (std::string_view header : headers) {
    Scanner scanner(header);
    bool in_challenge = false;
    while (true) {
      scanner.SkipSeparators();
      if (scanner.AtEnd()) break;
      std::string word = scanner.Token();
      if (word.empty()) break;
      scanner.SkipSpace();
      // A word before "=" is a parameter, any other the next challenge's scheme.
      if (scanner.Take('=')) {
        scanner.SkipSpace();
        std::string value = scanner.Value();
        if (in_challenge) out.back().parameters[ToLower(word)] = std::move(value);
      } else {
        out.push_back({.scheme = ToLower(word), .parameters = {}});
        in_challenge = true;
      }
    }
  }
  return out;
}

}  // namespace varve::registry
