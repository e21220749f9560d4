#include "graph/source_url.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/rel_path.h"
#include "base/strings.h"

namespace varve::graph {
namespace {

constexpr std::array<std::string_view, 10> kQueryKeys = {
    "ref", "tag", "branch", "subdir", "checksum", "commit", "keep-git-dir", "submodules", "mtime", "fetch-by-commit"};

bool IsWordCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool IsHostCharacter(char c) { return IsWordCharacter(c) || c == '.'; }

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<std::string> PercentDecode(std::string_view text, bool plus_is_space) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      const int high = i + 2 < text.size() ? HexValue(text[i + 1]) : -1;
      const int low = high >= 0 ? HexValue(text[i + 2]) : -1;
      if (low < 0) return Invalid("\"{}\" has a % that is not followed by two hex digits", text);
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return out;
}

// The text cut into its parts; fragment and query still encoded.
struct Parts {
  std::string remote;  // without query and fragment
  std::string scheme;  // lower case; empty: user@host:path
  std::string user_info;
  std::string host;
  std::string path;
  std::string query;
  std::string fragment;
};

// user@host:path, git's scp-like form. Without a user, "c:path" and "host:tag" would be taken too.
bool CutScpForm(std::string_view remote, Parts& parts) {
  const size_t at = remote.find('@');
  if (at == std::string_view::npos || at == 0) return false;
  const size_t colon = remote.find(':', at);
  if (colon == std::string_view::npos || colon == at + 1) return false;
  const std::string_view user = remote.substr(0, at);
  const std::string_view host = remote.substr(at + 1, colon - at - 1);
  if (!std::ranges::all_of(user, IsWordCharacter) || user.front() == '-') return false;
  if (!std::ranges::all_of(host, IsHostCharacter) || host.front() == '-') return false;
  parts.user_info = user;
  parts.host = host;
  parts.path = remote.substr(colon + 1);
  return !parts.path.empty();
}

std::optional<Parts> Cut(std::string_view text) {
  Parts parts;
  if (const size_t hash = text.find('#'); hash != std::string_view::npos) {
    parts.fragment = text.substr(hash + 1);
    text = text.substr(0, hash);
  }
  if (const size_t mark = text.find('?'); mark != std::string_view::npos) {
    parts.query = text.substr(mark + 1);
    text = text.substr(0, mark);
  }
  parts.remote = text;
  const size_t colon = text.find("://");
  if (colon == std::string_view::npos) {
    if (!CutScpForm(text, parts)) return {};
    return parts;
  }
  parts.scheme = ToLower(text.substr(0, colon));
  parts.remote = parts.scheme + std::string(text.substr(colon));
  std::string_view rest = text.substr(colon + 3);
  const size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view authority = rest.substr(0, slash);
  parts.path = rest.substr(slash);
  if (const size_t at = authority.rfind('@'); at != std::string_view::npos) {
    parts.user_info = authority.substr(0, at);
    authority = authority.substr(at + 1);
  }
  parts.host = authority;
  if (parts.host.empty() || parts.host.front() == '-') return {};
  return parts;
}

bool NamesRepository(const Parts& parts) {
  if (parts.scheme.empty() || parts.scheme == "git" || parts.scheme == "ssh") return true;
  if (parts.scheme != "https" && parts.scheme != "http") return false;
  const auto path = PercentDecode(parts.path, false);
  return path && path->ends_with(".git");
}

Status CheckUser(const Parts& parts) {
  if (parts.user_info.find(':') == std::string::npos || parts.scheme.starts_with("http")) return Ok();
  Error error = Invalid("the git URL for {} has a password in it, which only http takes", parts.host);
  error.hint = "for ssh pass an agent: --ssh default";
  return error;
}

Result<bool> BoolValue(const std::string& key, const std::string& value) {
  if (value.empty()) return true;
  const std::optional<bool> parsed = ParseBool(value);
  if (!parsed) return Invalid("git URL: {}={} is neither true nor false", key, value);
  return *parsed;
}

Status SetOnce(std::string& field, std::string value, std::string_view what) {
  if (!field.empty() && field != value) {
    return Invalid("{} conflicts: \"{}\" vs \"{}\"", what, field, value);
  }
  field = std::move(value);
  return Ok();
}

Status SetSubdir(GitSource& source, std::string_view subdir) {
  return SetOnce(source.subdir, RelPath(subdir).str(), "subdir");
}

Status SetChecksum(GitSource& source, const std::string& value) {
  TRY(CheckCommitPrefix(value));
  return SetOnce(source.checksum, value, "commit");
}

std::string WithPrefix(std::string_view prefix, const std::string& name) {
  return name.starts_with(prefix) ? name : std::string(prefix) + name;
}

Status ApplyPair(GitUrl& url, const std::string& key, const std::string& value) {
  GitSource& source = url.source;
  const bool may_be_empty = key == "keep-git-dir" || key == "submodules" || key == "fetch-by-commit";
  if (value.empty() && !may_be_empty) return Invalid("git URL: {} has no value", key);
  if (key == "ref") return SetOnce(source.ref, value, "ref");
  if (key == "tag") return SetOnce(source.ref, WithPrefix("refs/tags/", value), "ref");
  if (key == "branch") return SetOnce(source.ref, WithPrefix("refs/heads/", value), "ref");
  if (key == "subdir") return SetSubdir(source, value);
  if (key == "checksum" || key == "commit") return SetChecksum(source, value);
  if (key == "mtime") {
    if (value != "checkout" && value != "commit") {
      return Invalid("git URL: mtime={} is neither checkout nor commit", value);
    }
    source.commit_mtime = value == "commit";
    return Ok();
  }
  TRY_ASSIGN(const bool on, BoolValue(key, value));
  if (key == "keep-git-dir") url.keep_git_dir = source.keep_git_dir = on;
  if (key == "submodules") source.submodules = on;
  if (key == "fetch-by-commit") source.fetch_by_commit = on;
  return Ok();
}

Status ApplyQuery(GitUrl& url, std::string_view query) {
  std::vector<std::string> seen;
  for (const std::string& pair : Split(query, '&')) {
    if (pair.empty()) continue;
    const size_t equals = std::min(pair.find('='), pair.size());
    TRY_ASSIGN(const std::string key, PercentDecode(pair.substr(0, equals), true));
    TRY_ASSIGN(const std::string value, PercentDecode(equals < pair.size() ? pair.substr(equals + 1) : "", true));
    if (std::ranges::find(kQueryKeys, key) == kQueryKeys.end()) {
      Error error = Invalid("unexpected query \"{}\" in the git URL", key);
      const auto near = NearestWord(key, kQueryKeys);
      error.hint = near ? fmt::format("did you mean \"{}\"?", *near)
                        : "known keys: ref, tag, branch, subdir, checksum, keep-git-dir, "
                          "submodules, mtime, fetch-by-commit";
      return error;
    }
    if (std::ranges::find(seen, key) != seen.end()) {
      return Invalid("git URL gives the key \"{}\" twice", key);
    }
    seen.push_back(key);
    TRY(ApplyPair(url, key, value));
  }
  return Ok();
}

Status ApplyFragment(GitSource& source, const Parts& parts) {
  if (parts.fragment.empty()) return Ok();
  std::string fragment = parts.fragment;
  if (!parts.scheme.empty()) {  // the scp form is no URL: its text stands for itself
    TRY_ASSIGN(fragment, PercentDecode(parts.fragment, false));
  }
  const size_t colon = std::min(fragment.find(':'), fragment.size());
  if (colon > 0) TRY(SetOnce(source.ref, fragment.substr(0, colon), "ref"));
  if (colon < fragment.size()) TRY(SetSubdir(source, fragment.substr(colon + 1)));
  return Ok();
}

}  // namespace

bool IsCommitHash(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Status CheckCommitPrefix(std::string_view text) {
  const bool hex = std::ranges::all_of(text, [](char c) { return HexValue(c) >= 0 && !(c >= 'A' && c <= 'F'); });
  if (hex && !text.empty() && text.size() <= 64) return Ok();
  Error error = Invalid("\"{}\" is not a git commit", text);
  error.hint = "give the commit's 40 lower-case hex digits, or the first of them";
  return error;
}

Status CheckGitRef(std::string_view ref) {
  const bool bad_character = std::ranges::any_of(ref, [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == 0x7f ||
           std::string_view("~^:?*[\\").find(c) != std::string_view::npos;
  });
  if (bad_character || ref.starts_with('-') || ref.starts_with('+') || ref.starts_with('/') || ref.ends_with('/') ||
      ref.ends_with('.') || ref.ends_with(".lock") || ref.find("..") != std::string_view::npos ||
      ref.find("//") != std::string_view::npos || ref.find("@{") != std::string_view::npos) {
    Error error = Invalid("\"{}\" is not a valid git ref", ref);
    error.hint = "name a branch, a tag, refs/… or a whole commit hash";
    return error;
  }
  return Ok();
}

Result<GitRemote> CheckGitRemote(std::string_view remote) {
  const bool printable =
      std::ranges::all_of(remote, [](char c) { return static_cast<unsigned char>(c) > ' ' && c != 0x7f; });
  const std::optional<Parts> parts = printable ? Cut(remote) : std::nullopt;
  if (parts) TRY(CheckUser(*parts));
  constexpr std::string_view kSchemes[] = {"", "https", "http", "ssh", "git"};
  if (!parts || std::ranges::find(kSchemes, parts->scheme) == std::end(kSchemes) ||
      remote.find_first_of("?#") != std::string_view::npos) {
    // What is in front of an @ may be a credential.
    const size_t at = remote.rfind('@');
    Error error =
        Invalid("\"{}\" is not the URL of a git repository", !printable                     ? "(unprintable)"
                                                             : at == std::string_view::npos ? remote
                                                                                            : remote.substr(at + 1));
    error.hint = "use https://…, ssh://…, git://… or user@host:path";
    return error;
  }
  return GitRemote{parts->scheme.empty() ? "ssh" : parts->scheme, parts->user_info, parts->host};
}

Result<std::optional<GitUrl>> ParseGitUrl(std::string_view text) {
  GitUrl url;
  url.looks_local = text.starts_with("github.com/");
  const std::optional<Parts> parts = Cut(url.looks_local ? "https://" + std::string(text) : std::string(text));
  if (!parts || (!NamesRepository(*parts) && !url.looks_local)) return std::optional<GitUrl>();
  TRY(CheckUser(*parts));
  // What only looks like a URL may be a directory, whatever its name.
  if (!url.looks_local) TRY(CheckGitRemote(parts->remote));
  url.source.remote = parts->remote;
  TRY(ApplyQuery(url, parts->query));
  TRY(ApplyFragment(url.source, *parts));
  TRY(CheckGitRef(url.source.ref));
  return std::optional<GitUrl>(std::move(url));
}

bool IsHttpUrl(std::string_view text) {
  if (!text.starts_with("http://") && !text.starts_with("https://")) return false;
  const std::optional<Parts> parts = Cut(text);
  return parts && !NamesRepository(*parts);
}

std::string HttpFileName(std::string_view url) {
  const std::optional<Parts> parts = Cut(url);
  const auto decoded = parts ? PercentDecode(parts->path, false) : Result<std::string>("");
  const RelPath path(decoded ? *decoded : "");
  return path.IsRoot() ? "__unnamed__" : std::string(path.Name());
}

std::string WithoutPassword(const std::string& url) {
  std::optional<Parts> parts = Cut(url);
  if (!parts || parts->scheme.empty() || parts->user_info.find(':') == std::string::npos) return url;
  const size_t start = url.find("://") + 3;
  return url.substr(0, start) + url.substr(start + parts->user_info.size() + 1);
}

std::string WithoutCredentials(const std::string& url) {
  size_t start = url.find("://");
  if (start == std::string::npos) return url;
  start += 3;
  size_t end = url.find_first_of("/?#", start);
  size_t at = url.rfind('@', end == std::string::npos ? url.size() : end);
  if (at == std::string::npos || at < start) return url;
  bool password = url.substr(start, at - start).find(':') != std::string::npos;
  return url.substr(0, start) + (password ? "xxxxx:xxxxx" : "xxxxx") + url.substr(at);
}

}  // namespace varve::graph
