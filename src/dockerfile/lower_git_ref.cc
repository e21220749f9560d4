#include "dockerfile/lower_git_ref.h"

#include <map>
#include <vector>

#include "base/rel_path.h"
#include "base/strings.h"

namespace varve::dockerfile {

namespace {

bool IsAlnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// %xx decoded; nothing for a malformed escape. In a query, '+' is a blank.
std::optional<std::string> Unescape(std::string_view text, bool query) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size()) return {};
      int high = HexValue(text[i + 1]), low = HexValue(text[i + 2]);
      if (high < 0 || low < 0) return {};
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += query && text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

struct Url {
  std::string scheme;  // lower case
  std::string rest;    // after "://", without query and fragment
  std::string path;    // decoded
  std::string query;
  std::string fragment;  // decoded
};

// URLs with "scheme://"; nothing for other texts and for malformed escapes.
std::optional<Url> ParseUrl(std::string_view text) {
  size_t colon = text.find("://");
  if (colon == text.npos || colon == 0) return {};
  for (char c : text.substr(0, colon)) {
    if (!IsAlnum(c)) return {};
  }
  Url url;
  url.scheme = ToLower(text.substr(0, colon));
  std::string_view rest = text.substr(colon + 3);
  if (size_t hash = rest.find('#'); hash != rest.npos) {
    auto fragment = Unescape(rest.substr(hash + 1), false);
    if (!fragment) return {};
    url.fragment = *fragment;
    rest = rest.substr(0, hash);
  }
  if (size_t mark = rest.find('?'); mark != rest.npos) {
    url.query = rest.substr(mark + 1);
    rest = rest.substr(0, mark);
  }
  url.rest = rest;
  size_t slash = rest.find('/');
  auto path = Unescape(slash == rest.npos ? "" : rest.substr(slash), false);
  if (!path) return {};
  url.path = *path;
  return url;
}

// user@host:path, as ssh and scp write it.
bool ParseScp(std::string_view text, GitRef* ref, std::string* query, std::string* fragment) {
  size_t at = text.find('@');
  if (at == text.npos || at == 0) return false;
  for (char c : text.substr(0, at)) {
    if (!IsAlnum(c) && c != '-' && c != '_') return false;
  }
  size_t colon = text.find(':', at);
  if (colon == text.npos || colon == at + 1) return false;
  for (char c : text.substr(at + 1, colon - at - 1)) {
    if (!IsAlnum(c) && c != '-' && c != '.') return false;
  }
  if (text.find('\n') != text.npos) return false;
  std::string_view rest = text;
  if (size_t hash = rest.find('#'); hash != rest.npos) {
    *fragment = rest.substr(hash + 1);
    rest = rest.substr(0, hash);
  }
  if (size_t mark = rest.find('?'); mark != rest.npos) {
    *query = rest.substr(mark + 1);
    rest = rest.substr(0, mark);
  }
  ref->remote = rest;
  return true;
}

Result<std::map<std::string, std::vector<std::string>>> ParseQuery(std::string_view query) {
  std::map<std::string, std::vector<std::string>> out;
  for (const std::string& pair : Split(query, '&')) {
    if (pair.empty()) continue;
    size_t equals = pair.find('=');
    auto key = Unescape(std::string_view(pair).substr(0, equals), true);
    auto value =
        Unescape(equals == pair.npos ? "" : std::string_view(pair).substr(equals + 1), true);
    if (!key || !value) return Invalid("malformed escape in query \"{}\" of a git URL", pair);
    out[*key].push_back(*value);
  }
  return out;
}

Result<bool> QueryFlag(const std::string& key, const std::string& value) {
  if (value.empty()) return true;
  auto flag = ParseBool(value);
  if (!flag) return Invalid("invalid {} value: \"{}\"", key, value);
  return *flag;
}

Status SetOnce(const char* what, const std::string& value, std::string* field) {
  if (!field->empty() && *field != value) {
    return Invalid("{} conflicts: \"{}\" vs \"{}\"", what, *field, value);
  }
  *field = value;
  return Ok();
}

Status ApplyQuery(std::string_view query, GitRef* ref) {
  TRY_ASSIGN(auto values, ParseQuery(query));
  std::string tag, branch;
  for (const auto& [key, list] : values) {
    if (list.size() > 1) return Invalid("query \"{}\" has multiple values", key);
    const std::string& value = list[0];
    bool flag = key == "submodules" || key == "keep-git-dir" || key == "fetch-by-commit";
    if (value.empty() && !flag) return Invalid("query \"{}\" has no value", key);
    if (key == "ref") {
      TRY(SetOnce("ref", value, &ref->ref));
    } else if (key == "tag") {
      tag = value.starts_with("refs/tags/") ? value : "refs/tags/" + value;
    } else if (key == "branch") {
      branch = value.starts_with("refs/heads/") ? value : "refs/heads/" + value;
    } else if (key == "subdir") {
      TRY(SetOnce("subdir", value, &ref->subdir));
    } else if (key == "checksum" || key == "commit") {
      ref->checksum = value;
    } else if (key == "keep-git-dir") {
      TRY_ASSIGN(ref->keep_git_dir, QueryFlag(key, value));
    } else if (key == "submodules") {
      TRY_ASSIGN(ref->submodules, QueryFlag(key, value));
    } else if (key == "fetch-by-commit") {
      TRY_ASSIGN(ref->fetch_by_commit, QueryFlag(key, value));
    } else if (key == "mtime") {
      if (value != "checkout" && value != "commit") {
        return Invalid("invalid mtime value: \"{}\" (must be \"checkout\" or \"commit\")", value);
      }
      ref->mtime = value;
    } else {
      return Invalid("unexpected query \"{}\"", key);
    }
  }
  if (!tag.empty()) TRY(SetOnce("ref", tag, &ref->ref));
  if (!branch.empty()) {
    if (!tag.empty()) return Invalid("branch conflicts with tag");
    TRY(SetOnce("ref", branch, &ref->ref));
  }
  return Ok();
}

}  // namespace

graph::GitSource GitRef::ToSource() const {
  graph::GitSource git;
  git.remote = may_be_local ? "https://" + remote : remote;
  git.ref = ref;
  git.subdir = RelPath(subdir).str();
  git.checksum = checksum;
  git.keep_git_dir = keep_git_dir.value_or(false);
  git.submodules = submodules.value_or(true);
  git.commit_mtime = mtime == "commit";
  git.fetch_by_commit = fetch_by_commit;
  return git;
}

Result<std::optional<GitRef>> ParseGitRef(std::string_view text) {
  std::optional<GitRef> none;
  if (text.starts_with("./") || text.starts_with("../")) return none;
  GitRef ref;
  std::string query, fragment;
  ref.may_be_local = text.starts_with("github.com/");
  std::string url_text = ref.may_be_local ? "https://" + std::string(text) : std::string(text);
  if (auto url = ParseUrl(url_text)) {
    bool http = url->scheme == "http" || url->scheme == "https";
    if (!http && url->scheme != "git" && url->scheme != "ssh") return none;
    if (http && !ref.may_be_local && !url->path.ends_with(".git")) return none;
    ref.remote = ref.may_be_local ? url->rest : url->scheme + "://" + url->rest;
    query = url->query;
    fragment = url->fragment;
  } else if (!ParseScp(text, &ref, &query, &fragment)) {
    return none;
  }
  size_t colon = fragment.find(':');
  ref.ref = fragment.substr(0, colon);
  if (colon != fragment.npos) ref.subdir = RelPath(fragment.substr(colon + 1)).str();
  TRY(ApplyQuery(query, &ref));
  return std::optional<GitRef>(std::move(ref));
}

bool IsHttpUrl(std::string_view text) {
  if (!text.starts_with("http://") && !text.starts_with("https://")) return false;
  auto git = ParseGitRef(text);
  return git && !git->has_value();
}

std::string HttpFileName(std::string_view url) {
  auto parsed = ParseUrl(url);
  if (!parsed) return "__unnamed__";
  RelPath path(parsed->path);
  return path.IsRoot() ? "__unnamed__" : std::string(path.Name());
}

}  // namespace varve::dockerfile
