#include "verify/content_cause.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <vector>

#include "base/strings.h"

namespace varve::verify {

namespace {

bool IsWord(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.' || c == '/' || c == ':' ||
         c == '+' || c == '=' || c == '~';
}

bool IsText(std::string_view bytes) {
  return std::ranges::all_of(
      bytes, [](char c) { return static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t' || c == '\r'; });
}

// The stretch without a blank, a quote or an unprintable byte around `at`.
std::string_view WordAt(std::string_view text, size_t at) {
  size_t begin = std::min(at, text.size()), end = begin;
  while (begin > 0 && IsWord(text[begin - 1])) --begin;
  while (end < text.size() && IsWord(text[end])) ++end;
  return text.substr(begin, end - begin);
}

std::string_view LineAt(std::string_view text, size_t at) {
  size_t begin = at == 0 ? 0 : text.rfind('\n', at - 1) + 1;  // npos + 1 is 0
  size_t end = std::min(text.find('\n', at), text.size());
  return text.substr(begin, end - begin);
}

// Matches where # is a digit, @ a letter, and everything else itself.
bool Fits(std::string_view text, std::string_view shape) {
  if (text.size() < shape.size()) return false;
  for (size_t i = 0; i < shape.size(); ++i) {
    unsigned char c = static_cast<unsigned char>(text[i]);
    bool fits = shape[i] == '#' ? std::isdigit(c) != 0 : shape[i] == '@' ? std::isalpha(c) != 0 : text[i] == shape[i];
    if (!fits) return false;
  }
  return true;
}

bool IsClockTimeAround(std::string_view text, size_t at) {
  static constexpr std::string_view kShapes[] = {"####-##-##",       "####/##/##",  "##/##/####",  "##:##:##",
                                                 "@@@ @@@ ## ##:##", "@@@ ## ####", "## @@@ ####", "########T######"};
  for (std::string_view shape : kShapes) {
    size_t begin = at >= shape.size() ? at - shape.size() + 1 : 0;
    for (size_t i = begin; i <= at && i < text.size(); ++i) {
      if (Fits(text.substr(i), shape)) return true;
    }
  }
  return false;
}

// Seconds, milliseconds, micro- or nanoseconds since 1970, of a year between 2015 and 2040.
bool IsTimeInDigits(std::string_view digits) {
  auto all_digits = [](std::string_view text) {
    return std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0; });
  };
  if (digits.size() == 14 && digits.starts_with("20") && all_digits(digits)) return true;  // 20261121091203
  // "1700000000.123" counts as its whole part.
  digits = digits.substr(0, digits.find('.'));
  if (!all_digits(digits)) return false;
  for (size_t length : {10, 13, 16, 19}) {
    if (digits.size() != length) continue;
    int64_t seconds = ParseInt(digits.substr(0, 10)).value_or(0);
    return seconds > 1'420'000'000 && seconds < 2'208'988'800;
  }
  return false;
}

std::string_view DigitsAt(std::string_view text, size_t at) {
  auto digit = [&](size_t i) { return std::isdigit(static_cast<unsigned char>(text[i])) != 0; };
  size_t begin = std::min(at, text.size()), end = begin;
  while (begin > 0 && digit(begin - 1)) --begin;
  while (end < text.size() && digit(end)) ++end;
  return text.substr(begin, end - begin);
}

// A 32-bit field holding two times less than a day apart: gzip's header, Python's bytecode, ar, ….
bool IsBinaryTime(std::string_view a, std::string_view b, size_t at) {
  auto read = [](std::string_view text, size_t i, bool little) {
    uint32_t value = 0;
    for (size_t k = 0; k < 4; ++k) {
      uint32_t byte = static_cast<unsigned char>(text[i + k]);
      value |= byte << (little ? 8 * k : 24 - 8 * k);
    }
    return static_cast<int64_t>(value);
  };
  auto recent = [](int64_t seconds) { return seconds > 1'420'000'000 && seconds < 2'208'988'800; };
  for (size_t back = 0; back < 4 && back <= at; ++back) {
    size_t i = at - back;
    if (i + 4 > a.size() || i + 4 > b.size()) continue;
    for (bool little : {true, false}) {
      int64_t x = read(a, i, little), y = read(b, i, little);
      if (recent(x) && recent(y) && std::abs(x - y) < 86'400) return true;
    }
  }
  return false;
}

bool IsPath(std::string_view word) {
  return word.find('/') != word.npos && word.find("//") == word.npos && word.size() > 2;
}

bool IsIdentifier(std::string_view word) {
  if (Fits(word, "########-####-####")) return true;
  // Sixteen characters in one piece, letters and digits among them.
  size_t run = 0;
  bool digit = false, letter = false;
  for (char c : word) {
    unsigned char u = static_cast<unsigned char>(c);
    if (std::isalnum(u) == 0 && c != '-' && c != '+') {
      run = 0;
      digit = letter = false;
      continue;
    }
    ++run;
    digit |= std::isdigit(u) != 0;
    letter |= std::isalpha(u) != 0;
    if (run >= 16 && digit && letter) return true;
  }
  return false;
}

// mktemp, tempfile and friends: a name with a random part after a prefix that says so.
bool IsTemporary(std::string_view word) {
  return word.find("/tmp") != word.npos || word.find("tmp.") != word.npos || word.find("/proc/") != word.npos ||
         word.find("/var/tmp") != word.npos;
}

bool SameLines(std::string_view a, std::string_view b) {
  if (a.size() != b.size() || !IsText(a) || !IsText(b)) return false;
  auto x = Split(a, '\n'), y = Split(b, '\n');
  std::ranges::sort(x);
  std::ranges::sort(y);
  return x == y;
}

std::string Printable(std::string_view text, size_t at) {
  constexpr size_t kColumns = 60;
  std::string_view line = LineAt(text, at);
  size_t within = at - static_cast<size_t>(line.data() - text.data());
  size_t begin = 0;
  if (line.size() > kColumns) begin = std::min(within > 20 ? within - 20 : 0, line.size() - kColumns);
  line = line.substr(begin, kColumns);
  std::string out;
  for (char c : line) {
    unsigned char u = static_cast<unsigned char>(c);
    out += u < 0x20 || u == 0x7f || u >= 0x80 ? '.' : c;
  }
  return out;
}

Cause CauseAt(std::string_view a, std::string_view b, size_t at) {
  if (IsClockTimeAround(a, at) && IsClockTimeAround(b, at)) return Cause::kTime;
  if (IsTimeInDigits(DigitsAt(a, at)) && IsTimeInDigits(DigitsAt(b, at))) return Cause::kTime;
  std::string_view x = WordAt(a, at), y = WordAt(b, at);
  if (IsPath(x) && IsPath(y) && (IsTemporary(x) || IsTemporary(y))) return Cause::kPath;
  if (IsIdentifier(x) && IsIdentifier(y)) return Cause::kIdentifier;
  if (IsPath(x) && IsPath(y)) return Cause::kPath;
  if (IsBinaryTime(a, b, at)) return Cause::kTime;
  return Cause::kOther;
}

}  // namespace

std::string_view CauseName(Cause cause) {
  switch (cause) {
    case Cause::kTime:
      return "time";
    case Cause::kPath:
      return "path";
    case Cause::kIdentifier:
      return "identifier";
    case Cause::kOrder:
      return "order";
    case Cause::kLength:
      return "length";
    case Cause::kOther:
      return "other";
  }
  return "other";
}

ContentCause ExplainContent(std::string_view first, std::string_view second, uint64_t offset) {
  size_t shorter = std::min(first.size(), second.size());
  size_t at = 0;
  while (at < shorter && first[at] == second[at]) ++at;
  ContentCause out{.offset = offset + at};
  if (at == shorter) {
    out.cause = Cause::kLength;
  } else if (offset == 0 && SameLines(first, second)) {
    out.cause = Cause::kOrder;
  } else {
    out.cause = CauseAt(first, second, at);
  }
  out.first = Printable(first, std::min(at, first.size()));
  out.second = Printable(second, std::min(at, second.size()));
  return out;
}

}  // namespace varve::verify
