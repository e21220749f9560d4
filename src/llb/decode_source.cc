// SourceOp: the identifier's scheme says what kind it is, the attributes say the rest
// (solver/pb/attr.go; source/*/source.go says what they mean).
#include <set>

#include "base/rel_path.h"
#include "base/strings.h"
#include "graph/source_url.h"
#include "llb/decode.h"
#include "oci/reference.h"

namespace varve::llb {

namespace {

// The attributes of one source. Each is asked for by name; what nobody asked for is refused, because
// leaving it out would give another result than the client wants.
class Attributes {
 public:
  explicit Attributes(const pb::SourceOp& source) : source_(source) {}

  const std::string* Find(const char* name) {
    asked_.insert(name);
    auto at = source_.attrs().find(name);
    return at == source_.attrs().end() ? nullptr : &at->second;
  }
  std::string Get(const char* name) {
    const std::string* value = Find(name);
    return value == nullptr ? std::string() : *value;
  }
  bool IsTrue(const char* name) { return Get(name) == "true"; }
  void Ignore(const char* name) { asked_.insert(name); }

  Result<std::vector<std::string>> GetList(const char* name) {
    const std::string* value = Find(name);
    if (value == nullptr || value->empty()) return std::vector<std::string>();
    auto json = Json::Parse(*value);
    bool strings = json && json->is_array();
    for (size_t i = 0; strings && i < json->as_array().size(); ++i) strings = json->as_array()[i].is_string();
    if (!strings) return Invalid("attribute {} is no JSON list of strings: {}", name, *value);
    std::vector<std::string> out;
    for (const Json& item : json->as_array()) out.push_back(item.as_string());
    return out;
  }

  // As Go reads it with base 0: "0644", "0x1a4", "420".
  Result<std::optional<uint32_t>> GetNumber(const char* name) {
    const std::string* value = Find(name);
    if (value == nullptr || value->empty()) return std::optional<uint32_t>();
    std::string_view digits = *value;
    int base = 10;
    if (digits.starts_with("0x")) {
      base = 16;
      digits.remove_prefix(2);
    } else if (digits.size() > 1 && digits[0] == '0') {
      base = 8;
      digits.remove_prefix(digits.starts_with("0o") ? 2 : 1);
    }
    auto number = ParseInt(digits, base);
    if (!number || *number < 0 || *number > UINT32_MAX) return Invalid("attribute {} is no number: {}", name, *value);
    return std::optional<uint32_t>(static_cast<uint32_t>(*number));
  }

  Status CheckAllAsked() const {
    for (const auto& [name, value] : source_.attrs()) {
      if (!asked_.contains(name)) {
        return Invalid("attribute {} of the source {} is not supported", name, source_.identifier());
      }
    }
    return Ok();
  }

 private:
  const pb::SourceOp& source_;
  std::set<std::string, std::less<>> asked_;
};

Result<graph::Op> DecodeImage(std::string_view text, Attributes& attributes) {
  TRY_ASSIGN(oci::Reference reference, oci::ParseReference(text));
  reference = reference.WithDefaultTag();
  if (const std::string* checksum = attributes.Find("image.checksum")) {
    TRY_ASSIGN(Digest digest, Digest::Parse(*checksum));
    if (reference.digest && *reference.digest != digest) {
      return Invalid("image.checksum {} contradicts the reference {}", *checksum, text);
    }
    reference.digest = digest;
  }
  graph::ImageSource image{.reference = reference.String()};
  std::string mode = attributes.Get("image.resolvemode");
  if (mode == "pull") {
    image.resolve_mode = graph::ResolveMode::kPull;
  } else if (!mode.empty() && mode != "default" && mode != "local") {
    // "local" prefers what is here to what the registry has, and asks it for the rest: that is the default here.
    return Invalid("image.resolvemode is \"{}\"; it may be default, pull or local", mode);
  }
  attributes.Ignore("image.recordtype");  // how `du` would show it
  return image;
}

Result<graph::Op> DecodeLocal(std::string_view name, Attributes& attributes, const Json& note) {
  graph::LocalSource local{.name = std::string(name), .exclude = {}, .include = {}, .ignore_file = {}};
  TRY_ASSIGN(local.exclude, attributes.GetList("local.excludepatterns"));
  TRY_ASSIGN(local.include, attributes.GetList("local.includepattern"));
  TRY_ASSIGN(local.follow_paths, attributes.GetList("local.followpaths"));
  local.ignore_file = note.GetString("ignore_file");
  local.shared_key_hint = attributes.Get("local.sharedkeyhint");
  local.unique_id = attributes.Get("local.unique");
  local.session = attributes.Get("local.session");
  // "prefix:id": the directory has the prefix in its name, too.
  if (size_t colon = local.session.find(':'); colon != std::string::npos) {
    local.name = local.session.substr(0, colon) + "-" + local.name;
    local.session.erase(0, colon + 1);
  }
  std::string differ = attributes.Get("local.differ");
  if (!differ.empty() && differ != "metadata" && differ != "none") {
    return Invalid("local.differ is \"{}\"; it may be metadata or none", differ);
  }
  local.compare_nothing = differ == "none";
  return local;
}

Result<graph::Op> DecodeGit(std::string_view text, Attributes& attributes) {
  graph::GitSource git;
  size_t hash = text.find('#');
  std::string_view fragment = hash == text.npos ? "" : text.substr(hash + 1);
  std::string place(text.substr(0, hash));
  git.remote = attributes.Get("git.fullurl");
  if (git.remote.empty()) git.remote = place;
  bool has_scheme = git.remote.find("://") != std::string::npos || git.remote.starts_with("git@");
  if (!has_scheme) git.remote = "https://" + git.remote;
  TRY(graph::CheckGitRemote(git.remote));
  size_t colon = fragment.find(':');
  git.ref = fragment.substr(0, colon);
  if (colon != fragment.npos) git.subdir = fragment.substr(colon + 1);
  if (!git.ref.empty()) TRY(graph::CheckGitRef(git.ref));
  git.checksum = attributes.Get("git.checksum");
  if (!git.checksum.empty()) TRY(graph::CheckCommitPrefix(git.checksum));
  git.keep_git_dir = attributes.IsTrue("git.keepgitdir");
  git.submodules = !attributes.IsTrue("git.skipsubmodules");
  git.fetch_by_commit = attributes.IsTrue("git.fetchbycommit");
  std::string mtime = attributes.Get("git.mtime");
  if (!mtime.empty() && mtime != "commit" && mtime != "checkout") {
    return Invalid("git.mtime is \"{}\"; it may be checkout or commit", mtime);
  }
  git.commit_mtime = mtime == "commit";
  git.auth_token_secret = attributes.Get("git.authtokensecret");
  git.auth_header_secret = attributes.Get("git.authheadersecret");
  git.ssh_id = attributes.Get("git.mountsshsock");
  git.known_hosts = attributes.Get("git.knownsshhosts");
  return git;
}

Result<graph::Op> DecodeHttp(const std::string& url, Attributes& attributes) {
  graph::HttpSource http{.url = url, .filename = attributes.Get("http.filename")};
  if (http.filename.find('/') != std::string::npos || http.filename == "." || http.filename == "..") {
    return Invalid("http.filename \"{}\" is no name of a file", http.filename);
  }
  if (const std::string* checksum = attributes.Find("http.checksum")) {
    TRY_ASSIGN(http.checksum, Checksum::Parse(*checksum));
  }
  TRY_ASSIGN(auto mode, attributes.GetNumber("http.perm"));
  TRY_ASSIGN(auto uid, attributes.GetNumber("http.uid"));
  TRY_ASSIGN(auto gid, attributes.GetNumber("http.gid"));
  http.mode = mode.value_or(0600) & 07777;
  http.uid = uid.value_or(0);
  http.gid = gid.value_or(0);
  http.auth_header_secret = attributes.Get("http.authheadersecret");
  http.accept = attributes.Get("http.header.accept");
  http.user_agent = attributes.Get("http.header.user-agent");
  for (const std::string* header : {&http.accept, &http.user_agent}) {
    for (char c : *header) {
      if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) return Invalid("an http.header holds a control character");
    }
  }
  return http;
}

// oci-layout://NAME[:TAG][@DIGEST]; the content store is NAME, unless oci.store says which.
Result<graph::Op> DecodeLayout(std::string_view text, Attributes& attributes) {
  graph::OciLayoutSource layout;
  size_t at = text.find('@');
  if (at != text.npos) {
    TRY_ASSIGN(layout.digest, Digest::Parse(text.substr(at + 1)));
  }
  std::string_view name = text.substr(0, at);
  size_t slash = name.rfind('/');
  size_t colon = name.find(':', slash == name.npos ? 0 : slash);
  if (colon != name.npos) layout.reference = name.substr(colon + 1);
  layout.path = attributes.Get("oci.store");
  if (layout.path.empty()) layout.path = name.substr(0, colon);
  layout.session = attributes.Get("oci.session");
  if (layout.path.empty()) return Invalid("oci-layout://{} names no content store", text);
  return layout;
}

}  // namespace

Result<graph::Op> DecodeSource(const pb::SourceOp& source, const Json& note) {
  const std::string& identifier = source.identifier();
  size_t end = identifier.find("://");
  if (end == std::string::npos) return Invalid("the source \"{}\" has no scheme", identifier);
  std::string_view scheme = std::string_view(identifier).substr(0, end);
  std::string_view rest = std::string_view(identifier).substr(end + 3);
  Attributes attributes(source);
  Result<graph::Op> op = Invalid("sources of the kind {}:// are not supported", scheme);
  if (scheme == "docker-image") op = DecodeImage(rest, attributes);
  if (scheme == "local") op = DecodeLocal(rest, attributes, note);
  if (scheme == "git") op = DecodeGit(rest, attributes);
  if (scheme == "http" || scheme == "https") op = DecodeHttp(identifier, attributes);
  if (scheme == "oci-layout") op = DecodeLayout(rest, attributes);
  if (op) TRY(attributes.CheckAllAsked());
  return op;
}

}  // namespace varve::llb
