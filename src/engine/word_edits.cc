#include "engine/word_edits.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

namespace varve::engine {

namespace {

using Words = std::span<const std::string_view>;

std::vector<std::string_view> WordsOf(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  std::vector<std::string_view> words;
  size_t begin = 0;
  while ((begin = text.find_first_not_of(kSpace, begin)) != text.npos) {
    size_t end = std::min(text.find_first_of(kSpace, begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return words;
}

class Edits {
 public:
  void Remove(std::string_view word) { Append(Current().removed, word); }
  void Add(std::string_view word) { Append(Current().added, word); }
  void Keep() { open_ = false; }
  std::vector<Reason::Edit> Take() { return std::move(edits_); }

 private:
  Reason::Edit& Current() {
    if (!open_) edits_.emplace_back();
    open_ = true;
    return edits_.back();
  }
  static void Append(std::string& text, std::string_view word) {
    if (!text.empty()) text += ' ';
    text += word;
  }
  std::vector<Reason::Edit> edits_;
  bool open_ = false;
};

// The longest common subsequence, by the table that every textbook has.
void Diff(Words before, Words now, Edits& edits) {
  size_t columns = now.size() + 1;
  std::vector<uint16_t> common((before.size() + 1) * columns, 0);
  for (size_t i = before.size(); i-- > 0;) {
    for (size_t j = now.size(); j-- > 0;) {
      common[i * columns + j] = before[i] == now[j]
                                    ? static_cast<uint16_t>(common[(i + 1) * columns + j + 1] + 1)
                                    : std::max(common[(i + 1) * columns + j], common[i * columns + j + 1]);
    }
  }
  size_t i = 0, j = 0;
  while (i < before.size() || j < now.size()) {
    if (i < before.size() && j < now.size() && before[i] == now[j]) {
      edits.Keep();
      ++i, ++j;
    } else if (j == now.size() || (i < before.size() && common[(i + 1) * columns + j] >= common[i * columns + j + 1])) {
      edits.Remove(before[i++]);
    } else {
      edits.Add(now[j++]);
    }
  }
}

}  // namespace

std::vector<Reason::Edit> WordEdits(std::string_view before_text, std::string_view now_text) {
  constexpr size_t kMaxWords = 1000;
  std::vector<std::string_view> before_words = WordsOf(before_text), now_words = WordsOf(now_text);
  Words before = before_words, now = now_words;
  while (!before.empty() && !now.empty() && before.front() == now.front()) {
    before = before.subspan(1);
    now = now.subspan(1);
  }
  while (!before.empty() && !now.empty() && before.back() == now.back()) {
    before = before.first(before.size() - 1);
    now = now.first(now.size() - 1);
  }
  Edits edits;
  if (before.size() > kMaxWords || now.size() > kMaxWords) {
    for (std::string_view word : before) edits.Remove(word);
    for (std::string_view word : now) edits.Add(word);
  } else {
    Diff(before, now, edits);
  }
  return edits.Take();
}

}  // namespace varve::engine
