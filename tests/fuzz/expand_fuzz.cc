// Any bytes as a word of a Dockerfile: expansion ends with a text or an error, within its bounds.
//
// The first byte chooses the options; a line end parts the value of A from the word.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "dockerfile/expand.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace varve;              // NOLINT
  using namespace varve::dockerfile;  // NOLINT
  if (size == 0) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  size_t cut = input.find('\n');
  std::string value(cut == input.npos ? "abc/abc.abc" : input.substr(0, cut));
  std::string_view word = cut == input.npos ? input : input.substr(cut + 1);
  GetVariable get = [&](std::string_view name) -> std::optional<std::string> {
    if (name == "A") return value;
    if (name == "E") return "";
    return std::nullopt;
  };
  ExpandOptions options{.escape = (data[0] & 1) != 0 ? '`' : '\\',
                        .raw_quotes = (data[0] & 2) != 0,
                        .raw_escapes = (data[0] & 4) != 0,
                        .skip_unset = (data[0] & 8) != 0,
                        .skip_quotes = (data[0] & 16) != 0};
  auto expansion = ProcessWord(word, get, options);
  auto words = ProcessWords(word, get, options);
  CHECK(expansion.has_value() == words.has_value());
  if (!expansion) {
    CHECK(!expansion.error().message.empty());
    return 0;
  }
  CHECK(expansion->words == *words);
  for (const std::string& name : expansion->matched) CHECK(name == "A" || name == "E");
  for (const std::string& name : expansion->unmatched) CHECK(name != "A" && name != "E");
  // Nothing in it is special: it is its own expansion.
  if (word.find_first_of("$'\"<\\`") == word.npos) CHECK(expansion->text == word);
  return 0;
}
