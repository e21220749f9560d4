#include "doctor/patch.h"

#include <algorithm>

#include "base/strings.h"

namespace varve::doctor {
namespace {

constexpr size_t kContext = 3;

// Lines without their ends; the last one is not an empty one after the final line end.
std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines = Split(text, '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

bool Overlap(const Edit& a, const Edit& b) {
  bool a_inserts = a.last < a.first, b_inserts = b.last < b.first;
  // Two insertions at one place have no order; an insertion may touch a change but not lie inside
  // of it.
  if (a_inserts && b_inserts) return a.first == b.first;
  if (a_inserts) return b.first < a.first && a.first <= b.last;
  if (b_inserts) return a.first < b.first && b.first <= a.last;
  return a.first <= b.last && b.first <= a.last;
}

bool Same(const Edit& a, const Edit& b) { return a.first == b.first && a.last == b.last && a.lines == b.lines; }

struct Hunk {
  size_t before = 0, after = 0;  // 0-based lines where it begins
  size_t before_count = 0, after_count = 0;
  std::string text;
};

// The longest common subsequence would be the general answer; files here are small and edits known
// to be few, so that a greedy walk over the table of the changed middle is enough.
std::vector<std::pair<char, std::string>> Compare(const std::vector<std::string>& a,
                                                  const std::vector<std::string>& b) {
  size_t head = 0, tail = 0;
  while (head < a.size() && head < b.size() && a[head] == b[head]) ++head;
  while (tail < a.size() - head && tail < b.size() - head && a[a.size() - 1 - tail] == b[b.size() - 1 - tail]) ++tail;
  size_t n = a.size() - head - tail, m = b.size() - head - tail;
  std::vector<std::vector<int>> longest(n + 1, std::vector<int>(m + 1));
  for (size_t i = n; i-- > 0;) {
    for (size_t j = m; j-- > 0;) {
      longest[i][j] =
          a[head + i] == b[head + j] ? longest[i + 1][j + 1] + 1 : std::max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  std::vector<std::pair<char, std::string>> out;
  for (size_t i = 0; i < head; ++i) out.emplace_back(' ', a[i]);
  size_t i = 0, j = 0;
  while (i < n || j < m) {
    if (i < n && j < m && a[head + i] == b[head + j]) {
      out.emplace_back(' ', a[head + i++]);
      ++j;
    } else if (i < n && (j == m || longest[i + 1][j] >= longest[i][j + 1])) {
      out.emplace_back('-', a[head + i++]);
    } else {
      out.emplace_back('+', b[head + j++]);
    }
  }
  for (size_t k = a.size() - tail; k < a.size(); ++k) out.emplace_back(' ', a[k]);
  return out;
}

std::string DiffOf(const ChangedFile& file) {
  auto lines = Compare(LinesOf(file.before), LinesOf(file.after));
  std::vector<bool> shown(lines.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].first == ' ') continue;
    for (size_t k = i > kContext ? i - kContext : 0; k < lines.size() && k <= i + kContext; ++k) shown[k] = true;
  }
  std::string out = fmt::format("--- {}\n+++ b/{}\n", file.is_new ? "/dev/null" : "a/" + file.path, file.path);
  size_t before = 0, after = 0;
  for (size_t i = 0; i < lines.size();) {
    if (!shown[i]) {
      ++before, ++after, ++i;
      continue;
    }
    Hunk hunk{.before = before, .after = after};
    for (; i < lines.size() && shown[i]; ++i) {
      const auto& [mark, text] = lines[i];
      hunk.text += mark + text + "\n";
      bool last_before = mark != '+' && before + 1 == LinesOf(file.before).size() && !file.before.ends_with('\n');
      bool last_after = mark != '-' && after + 1 == LinesOf(file.after).size() && !file.after.ends_with('\n');
      if (last_before || last_after) hunk.text += "\\ No newline at end of file\n";
      if (mark != '+') ++before, ++hunk.before_count;
      if (mark != '-') ++after, ++hunk.after_count;
    }
    // A range of no lines is named by the line before it.
    out += fmt::format("@@ -{},{} +{},{} @@\n{}", hunk.before + (hunk.before_count > 0 ? 1 : 0), hunk.before_count,
                       hunk.after + (hunk.after_count > 0 ? 1 : 0), hunk.after_count, hunk.text);
  }
  return out;
}

}  // namespace

std::string ApplyEdits(const std::string& text, std::vector<Edit> edits) {
  // At one place an insertion comes before the change of the line that it stands in front of.
  std::ranges::stable_sort(
      edits, [](const Edit& a, const Edit& b) { return std::pair(a.first, a.last) < std::pair(b.first, b.last); });
  std::vector<std::string> lines = LinesOf(text);
  bool crlf = !lines.empty() && lines[0].ends_with('\r');
  std::vector<std::string> out;
  int at = 1;
  auto end = static_cast<int>(lines.size());
  for (const Edit& edit : edits) {
    for (; at < edit.first && at <= end; ++at) out.push_back(lines[static_cast<size_t>(at - 1)]);
    for (const std::string& line : edit.lines) out.push_back(crlf && !line.ends_with('\r') ? line + "\r" : line);
    at = std::max(at, edit.last + 1);
  }
  for (; at <= end; ++at) out.push_back(lines[static_cast<size_t>(at - 1)]);
  std::string result = Join(out, "\n");
  bool final_end = text.empty() || text.ends_with('\n');
  return final_end && !result.empty() ? result + "\n" : result;
}

Patch MakePatch(const Project& project, const std::vector<Finding>& findings) {
  Patch patch;
  std::map<std::string, std::vector<Edit>> edits;
  for (const Finding& finding : findings) {
    if (!finding.fix) continue;
    std::vector<Edit>& known = edits[finding.fix->file];
    std::vector<Edit> wanted;
    bool overlaps = false;
    for (const Edit& edit : finding.fix->edits) {
      if (std::ranges::any_of(known, [&](const Edit& other) { return Same(edit, other); })) continue;
      overlaps = overlaps || std::ranges::any_of(known, [&](const Edit& other) { return Overlap(edit, other); });
      wanted.push_back(edit);
    }
    (overlaps ? patch.postponed : patch.fixed).push_back(&finding);
    if (!overlaps) known.insert(known.end(), wanted.begin(), wanted.end());
  }
  for (auto& [path, list] : edits) {
    if (list.empty()) continue;
    const SourceFile* file = project.Find(path);
    ChangedFile changed{.path = path, .before = file != nullptr ? file->text : "", .is_new = file == nullptr};
    changed.after = ApplyEdits(changed.before, std::move(list));
    patch.files.push_back(std::move(changed));
  }
  return patch;
}

std::string ToUnifiedDiff(const Patch& patch) {
  std::string out;
  for (const ChangedFile& file : patch.files) out += DiffOf(file);
  return out;
}

}  // namespace varve::doctor
