#include "base/rel_path.h"

namespace varve {

namespace {

template <class F>
void ForEachPart(std::string_view path, F&& f) {
  while (!path.empty()) {
    size_t slash = path.find('/');
    std::string_view part = path.substr(0, slash);
    path = slash == path.npos ? std::string_view() : path.substr(slash + 1);
    if (!part.empty() && part != ".") f(part);
  }
}

}  // namespace

RelPath::RelPath(std::string_view path) { *this = RelPath().Join(path); }

std::string_view RelPath::Name() const {
  std::string_view text = text_;
  size_t slash = text.rfind('/');
  return slash == text.npos ? text : text.substr(slash + 1);
}

RelPath RelPath::Parent() const {
  RelPath parent;
  size_t slash = text_.rfind('/');
  if (slash != text_.npos) parent.text_ = text_.substr(0, slash);
  return parent;
}

RelPath RelPath::Join(std::string_view more) const {
  RelPath out = *this;
  ForEachPart(more, [&](std::string_view part) {
    if (part == "..") {
      out = out.Parent();
    } else {
      if (!out.text_.empty()) out.text_ += '/';
      out.text_ += part;
    }
  });
  return out;
}

bool RelPath::IsWithin(const RelPath& directory) const {
  if (directory.IsRoot() || *this == directory) return true;
  return text_.size() > directory.text_.size() && text_.starts_with(directory.text_) &&
         text_[directory.text_.size()] == '/';
}

std::vector<std::string_view> RelPath::Parts() const {
  std::vector<std::string_view> parts;
  ForEachPart(text_, [&](std::string_view part) { parts.push_back(part); });
  return parts;
}

std::string CleanPath(std::string_view path) {
  bool absolute = path.starts_with('/');
  std::vector<std::string_view> parts;
  ForEachPart(path, [&](std::string_view part) {
    if (part != "..") {
      parts.push_back(part);
    } else if (!parts.empty() && parts.back() != "..") {
      parts.pop_back();
    } else if (!absolute) {
      parts.push_back(part);
    }
  });
  std::string out = absolute ? "/" : "";
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out += '/';
    out += parts[i];
  }
  return out.empty() ? "." : out;
}

std::string JoinAbsolute(std::string_view directory, std::string_view path) {
  if (path.starts_with('/')) return CleanPath(path);
  return CleanPath("/" + std::string(directory) + "/" + std::string(path));
}

}  // namespace varve
