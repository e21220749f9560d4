#include "graph/source_name.h"

#include <fmt/format.h>

#include <set>

#include "base/rel_path.h"
#include "base/strings.h"
#include "graph/source_url.h"
#include "oci/reference.h"

namespace varve::graph {

namespace {

// The attributes of one source. Each is asked for by name; what nobody asked for is refused, because
// leaving it out would give another result than the client wants. Names outside of the sources' own families
// mean nothing to any builder: what a policy has noted for itself.
class Attributes {
 public:
  explicit Attributes(const SourceName& source) : source_(source) {}

  const std::string* Find(const char* name) {
    asked_.insert(name);
    auto at = source_.attributes.find(name);
    return at == source_.attributes.end() ? nullptr : &at->second;
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

  Result<std::optional<uint32_t>> GetLayerLimit(const char* name) {
    const std::string* value = Find(name);
    if (value == nullptr) return std::optional<uint32_t>();
    auto limit = ParseInt(*value, 10);
    if (!limit || *limit <= 0 || *limit > INT32_MAX) return Invalid("invalid layer limit {}", *value);
    return std::optional<uint32_t>(static_cast<uint32_t>(*limit));
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
    for (const auto& [name, value] : source_.attributes) {
      static const std::set<std::string, std::less<>> kFamilies = {"git", "http", "image", "local", "oci"};
      if (!asked_.contains(name) && kFamilies.contains(std::string_view(name).substr(0, name.find('.')))) {
        return Invalid("attribute {} of the source {} is not supported", name, source_.identifier);
      }
    }
    return Ok();
  }

 private:
  const SourceName& source_;
  std::set<std::string, std::less<>> asked_;
};

Result<Op> DecodeImage(std::string_view text, Attributes& attributes) {
  TRY_ASSIGN(oci::Reference reference, oci::ParseReference(text));
  reference = reference.WithDefaultTag();
  ImageSource image{.reference = reference.String()};
  if (const std::string* checksum = attributes.Find("image.checksum")) {
    TRY_ASSIGN(image.checksum, Digest::Parse(*checksum));
    if (reference.digest && *reference.digest != *image.checksum) {
      return Invalid("image.checksum {} contradicts the reference {}", *checksum, text);
    }
    if (reference.digest) image.checksum.reset();  // which says it already
  }
  TRY_ASSIGN(image.layer_limit, attributes.GetLayerLimit("image.layerlimit"));
  std::string mode = attributes.Get("image.resolvemode");
  if (mode == "pull") {
    image.resolve_mode = ResolveMode::kPull;
  } else if (!mode.empty() && mode != "default" && mode != "local") {
    // "local" prefers what is here to what the registry has, and asks it for the rest: that is the default here.
    return Invalid("image.resolvemode is \"{}\"; it may be default, pull or local", mode);
  }
  attributes.Ignore("image.recordtype");  // how `du` would show it
  return image;
}

Result<Op> DecodeLocal(std::string_view name, Attributes& attributes) {
  LocalSource local{.name = std::string(name), .exclude = {}, .include = {}, .ignore_file = {}};
  TRY_ASSIGN(local.exclude, attributes.GetList("local.excludepatterns"));
  TRY_ASSIGN(local.include, attributes.GetList("local.includepattern"));
  TRY_ASSIGN(local.follow_paths, attributes.GetList("local.followpaths"));
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

constexpr std::string_view kRegistryBlob = "docker-image+blob", kLayoutBlob = "oci-layout+blob";

// REPOSITORY@DIGEST; of an OCI layout NAME@DIGEST, with the content store in oci.store.
Result<BlobSource> DecodeBlobPlace(std::string_view text, bool layout, Attributes& attributes) {
  TRY_ASSIGN(oci::Reference reference, oci::ParseReference(text));
  if (!reference.digest) return Invalid("the blob {} is not named by its digest", text);
  BlobSource blob{.repository = reference.Name(), .digest = *reference.digest, .layout = layout};
  if (layout) {
    blob.store = attributes.Get("oci.store");
    blob.session = attributes.Get("oci.session");
  }
  return blob;
}

// git.bundle, a locator as of a blob, and git.checkoutbundle.
Status DecodeGitBundles(GitSource& git, Attributes& attributes) {
  if (const std::string locator = attributes.Get("git.bundle"); !locator.empty()) {
    const size_t end = locator.find("://");
    const std::string_view scheme = std::string_view(locator).substr(0, end);
    if (end == locator.npos || (scheme != kRegistryBlob && scheme != kLayoutBlob)) {
      return Invalid("git.bundle is \"{}\"; it may be {}://… or {}://…", locator, kRegistryBlob, kLayoutBlob);
    }
    const std::string_view place = std::string_view(locator).substr(end + 3);
    TRY_ASSIGN(git.bundle, DecodeBlobPlace(place, scheme == kLayoutBlob, attributes));
    if (git.bundle->layout && git.bundle->store.empty()) git.bundle->store = place.substr(0, place.find('@'));
    if (git.checksum.empty()) return Invalid("git.bundle requires git.checksum to be set");
    if (IsCommitHash(git.ref) && !git.ref.starts_with(git.checksum)) {
      return Invalid("expected checksum to match {}, got {}", git.checksum, git.ref);
    }
  }
  git.checkout_bundle = attributes.IsTrue("git.checkoutbundle");
  if (git.checkout_bundle && (git.keep_git_dir || !git.subdir.empty())) {
    return Invalid("git.checkoutbundle is incompatible with {}", git.keep_git_dir ? "git.keepgitdir" : "git.subdir");
  }
  return Ok();
}

Result<Op> DecodeGit(std::string_view text, Attributes& attributes) {
  GitSource git;
  size_t hash = text.find('#');
  std::string_view fragment = hash == text.npos ? "" : text.substr(hash + 1);
  std::string place(text.substr(0, hash));
  git.remote = attributes.Get("git.fullurl");
  if (git.remote.empty()) git.remote = place;
  bool has_scheme = git.remote.find("://") != std::string::npos || git.remote.starts_with("git@");
  if (!has_scheme) git.remote = "https://" + git.remote;
  TRY(CheckGitRemote(git.remote));
  size_t colon = fragment.find(':');
  git.ref = fragment.substr(0, colon);
  if (colon != fragment.npos) git.subdir = RelPath(fragment.substr(colon + 1)).str();
  if (!git.ref.empty()) TRY(CheckGitRef(git.ref));
  git.checksum = attributes.Get("git.checksum");
  if (!git.checksum.empty()) TRY(CheckCommitPrefix(git.checksum));
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
  TRY(DecodeGitBundles(git, attributes));
  return git;
}

// Name, mode and owner of the only file of a source.
Status DecodeFile(Attributes& attributes, auto& file) {
  file.filename = attributes.Get("http.filename");
  if (file.filename.find('/') != std::string::npos || file.filename == "." || file.filename == "..") {
    return Invalid("http.filename \"{}\" is no name of a file", file.filename);
  }
  TRY_ASSIGN(auto mode, attributes.GetNumber("http.perm"));
  TRY_ASSIGN(auto uid, attributes.GetNumber("http.uid"));
  TRY_ASSIGN(auto gid, attributes.GetNumber("http.gid"));
  file.mode = mode.value_or(0600) & 07777;
  file.uid = uid.value_or(0);
  file.gid = gid.value_or(0);
  return Ok();
}

Result<Op> DecodeHttp(const std::string& url, Attributes& attributes) {
  HttpSource http{.url = url, .filename = {}};
  if (const std::string* checksum = attributes.Find("http.checksum")) {
    TRY_ASSIGN(http.checksum, Checksum::Parse(*checksum));
  }
  TRY(DecodeFile(attributes, http));
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
Result<Op> DecodeLayout(std::string_view text, Attributes& attributes) {
  OciLayoutSource layout;
  size_t at = text.find('@');
  if (at != text.npos) {
    TRY_ASSIGN(layout.digest, Digest::Parse(text.substr(at + 1)));
  }
  std::string_view name = text.substr(0, at);
  size_t slash = name.rfind('/');
  size_t colon = name.find(':', slash == name.npos ? 0 : slash);
  if (colon != name.npos) layout.reference = name.substr(colon + 1);
  layout.name = name.substr(0, colon);
  layout.path = attributes.Get("oci.store");
  if (layout.path.empty()) layout.path = name.substr(0, colon);
  layout.session = attributes.Get("oci.session");
  if (layout.path.empty()) return Invalid("oci-layout://{} names no content store", text);
  TRY_ASSIGN(layout.layer_limit, attributes.GetLayerLimit("oci.layerlimit"));
  return layout;
}

Result<Op> DecodeBlob(std::string_view text, bool layout, Attributes& attributes) {
  TRY_ASSIGN(BlobSource blob, DecodeBlobPlace(text, layout, attributes));
  if (layout && blob.store.empty()) return Invalid("the blob {} names no content store", text);
  TRY(DecodeFile(attributes, blob));
  attributes.Ignore("image.recordtype");
  return blob;
}

std::string ListText(const std::vector<std::string>& items) { return Json::Strings(items).Dump(); }

void SetIf(std::map<std::string, std::string>* attrs, const char* name, const std::string& value) {
  if (!value.empty()) (*attrs)[name] = value;
}

// host/path of a remote, without scheme and user: the same for https, ssh and user@host:path.
std::string GitPlace(const std::string& remote) {
  std::string text = remote;
  bool url = text.find("://") != std::string::npos;
  if (url) text.erase(0, text.find("://") + 3);
  size_t end_of_host = text.find(url ? '/' : ':');
  size_t at = text.rfind('@', end_of_host);
  if (!url && end_of_host != std::string::npos) text[end_of_host] = '/';
  if (at != std::string::npos && at < end_of_host) text.erase(0, at + 1);
  return text;
}

std::string LocatorOf(const BlobSource& blob) {
  return fmt::format("{}://{}@{}", blob.layout ? kLayoutBlob : kRegistryBlob, blob.repository, blob.digest.ToString());
}

void NameGit(const GitSource& git, SourceName& to) {
  std::string identifier = "git://" + GitPlace(git.remote);
  if (!git.ref.empty() || !git.subdir.empty()) identifier += "#" + git.ref;
  if (!git.subdir.empty()) identifier += ":" + git.subdir;
  to.identifier = identifier;
  auto* attrs = &to.attributes;
  SetIf(attrs, "git.fullurl", git.remote);
  SetIf(attrs, "git.checksum", git.checksum);
  SetIf(attrs, "git.authtokensecret", git.auth_token_secret);
  SetIf(attrs, "git.authheadersecret", git.auth_header_secret);
  SetIf(attrs, "git.mountsshsock", git.ssh_id);
  SetIf(attrs, "git.knownsshhosts", git.known_hosts);
  if (git.keep_git_dir) (*attrs)["git.keepgitdir"] = "true";
  if (!git.submodules) (*attrs)["git.skipsubmodules"] = "true";
  if (git.commit_mtime) (*attrs)["git.mtime"] = "commit";
  if (git.fetch_by_commit) (*attrs)["git.fetchbycommit"] = "true";
  if (git.checkout_bundle) (*attrs)["git.checkoutbundle"] = "true";
  if (!git.bundle) return;
  (*attrs)["git.bundle"] = LocatorOf(*git.bundle);
  SetIf(attrs, "oci.store", git.bundle->store);
  SetIf(attrs, "oci.session", git.bundle->session);
}

void NameFile(const auto& file, std::map<std::string, std::string>* attrs) {
  SetIf(attrs, "http.filename", file.filename);
  if (file.mode != 0600) (*attrs)["http.perm"] = fmt::format("0{:o}", file.mode);
  if (file.uid != 0) (*attrs)["http.uid"] = std::to_string(file.uid);
  if (file.gid != 0) (*attrs)["http.gid"] = std::to_string(file.gid);
}

void NameHttp(const HttpSource& http, SourceName& to) {
  to.identifier = http.url;
  auto* attrs = &to.attributes;
  NameFile(http, attrs);
  if (http.checksum) (*attrs)["http.checksum"] = http.checksum->ToString();
  SetIf(attrs, "http.authheadersecret", http.auth_header_secret);
  SetIf(attrs, "http.header.accept", http.accept);
  SetIf(attrs, "http.header.user-agent", http.user_agent);
}

void NameLocal(const LocalSource& local, SourceName& to) {
  to.identifier = "local://" + local.name;
  auto* attrs = &to.attributes;
  if (!local.exclude.empty()) (*attrs)["local.excludepatterns"] = ListText(local.exclude);
  if (!local.include.empty()) (*attrs)["local.includepattern"] = ListText(local.include);
  if (!local.follow_paths.empty()) (*attrs)["local.followpaths"] = ListText(local.follow_paths);
  SetIf(attrs, "local.sharedkeyhint", local.shared_key_hint);
  SetIf(attrs, "local.session", local.session);
  SetIf(attrs, "local.unique", local.unique_id);
  if (local.compare_nothing) (*attrs)["local.differ"] = "none";
}

void NameLayout(const OciLayoutSource& layout, SourceName& to) {
  std::string identifier = "oci-layout://" + (layout.name.empty() ? "docker.io/library/layout" : layout.name);
  if (!layout.reference.empty()) identifier += ":" + layout.reference;
  if (layout.digest) identifier += "@" + layout.digest->ToString();
  to.identifier = identifier;
  SetIf(&to.attributes, "oci.store", layout.path);
  SetIf(&to.attributes, "oci.session", layout.session);
  if (layout.layer_limit) to.attributes["oci.layerlimit"] = std::to_string(*layout.layer_limit);
}

void NameBlob(const BlobSource& blob, SourceName& to) {
  to.identifier = LocatorOf(blob);
  NameFile(blob, &to.attributes);
  SetIf(&to.attributes, "oci.store", blob.store);
  SetIf(&to.attributes, "oci.session", blob.session);
}

void NameImage(const ImageSource& image, SourceName& to) {
  to.identifier = "docker-image://" + image.reference;
  if (image.resolve_mode == ResolveMode::kPull) to.attributes["image.resolvemode"] = "pull";
  if (image.resolve_mode == ResolveMode::kLocal) to.attributes["image.resolvemode"] = "local";
  if (image.checksum) to.attributes["image.checksum"] = image.checksum->ToString();
  if (image.layer_limit) to.attributes["image.layerlimit"] = std::to_string(*image.layer_limit);
}

}  // namespace

Result<Op> ParseSource(const SourceName& source) {
  const std::string& identifier = source.identifier;
  size_t end = identifier.find("://");
  if (end == std::string::npos) return Invalid("the source \"{}\" has no scheme", identifier);
  std::string_view scheme = std::string_view(identifier).substr(0, end);
  std::string_view rest = std::string_view(identifier).substr(end + 3);
  Attributes attributes(source);
  Result<Op> op = Invalid("sources of the kind {}:// are not supported", scheme);
  if (scheme == "docker-image") op = DecodeImage(rest, attributes);
  if (scheme == "local") op = DecodeLocal(rest, attributes);
  if (scheme == "git") op = DecodeGit(rest, attributes);
  if (scheme == "http" || scheme == "https") op = DecodeHttp(identifier, attributes);
  if (scheme == "oci-layout") op = DecodeLayout(rest, attributes);
  if (scheme == kRegistryBlob || scheme == kLayoutBlob) op = DecodeBlob(rest, scheme == kLayoutBlob, attributes);
  if (op) TRY(attributes.CheckAllAsked());
  return op;
}

SourceName NameOfSource(const Op& op) {
  SourceName name;
  if (const auto* image = std::get_if<ImageSource>(&op)) NameImage(*image, name);
  if (const auto* local = std::get_if<LocalSource>(&op)) NameLocal(*local, name);
  if (const auto* git = std::get_if<GitSource>(&op)) NameGit(*git, name);
  if (const auto* http = std::get_if<HttpSource>(&op)) NameHttp(*http, name);
  if (const auto* layout = std::get_if<OciLayoutSource>(&op)) NameLayout(*layout, name);
  if (const auto* blob = std::get_if<BlobSource>(&op)) NameBlob(*blob, name);
  CHECK(!name.identifier.empty());
  return name;
}

}  // namespace varve::graph
