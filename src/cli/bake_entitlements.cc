#include "cli/bake_entitlements.h"

#include <algorithm>
#include <filesystem>

#include "base/strings.h"
#include "cli/bake_flags.h"

namespace varve::cli {

namespace {

namespace fs = std::filesystem;

// Links resolved as far as the path is there.
std::string RealPath(const std::string& path) {
  std::error_code error;
  fs::path real = fs::weakly_canonical(fs::absolute(path, error), error);
  return error ? path : real.string();
}

bool Within(const std::string& path, const std::vector<std::string>& allowed) {
  std::string real = RealPath(path);
  return std::ranges::any_of(allowed, [&](const std::string& parent) {
    if (parent == "*") return true;
    std::string base = RealPath(parent);
    if (base.size() > 1 && base.ends_with('/')) base.pop_back();
    return base == "/" || real == base || real.starts_with(base + "/");
  });
}

std::string Shown(const std::string& path) {
  std::error_code error;
  std::string here = fs::proximate(RealPath(path), RealPath("."), error).string();
  return error || here.empty() ? path : here;
}

}  // namespace

Result<Entitlements> Entitlements::Parse(const std::vector<std::string>& allowed) {
  Entitlements all;
  all.read_.push_back(".");
  all.write_.push_back(".");
  static constexpr std::string_view kPlain[] = {"network.host", "security.insecure", "ssh", "device",
                                                "buildx.local.delete"};
  static constexpr std::string_view kKeys[] = {
      "network.host", "security.insecure", "ssh",   "device",     "buildx.local.delete", "fs",
      "fs.read",      "fs.write",          "image", "image.push", "image.load"};
  for (const std::string& text : allowed) {
    size_t eq = text.find('=');
    std::string key = text.substr(0, eq), value = eq == text.npos ? "" : text.substr(eq + 1);
    if (std::ranges::find(kKeys, key) == std::end(kKeys)) {
      Error error = Invalid("unknown entitlement key \"{}\"", key);
      if (auto near = NearestWord(key, kKeys)) error.hint = fmt::format("did you mean {}?", *near);
      return error;
    }
    if (key == "buildx.local.delete" && eq != text.npos) return Invalid("{} does not accept a value", key);
    if (key == "fs" || key == "fs.read") all.read_.push_back(value);
    if (key == "fs" || key == "fs.write") all.write_.push_back(value);
    if (std::ranges::find(kPlain, text) != std::end(kPlain) || key == "device") all.keys_.insert(text);
  }
  return all;
}

bool Entitlements::MayRead(const std::string& path) const { return Within(path, read_); }
bool Entitlements::MayWrite(const std::string& path) const { return Within(path, write_); }

void Entitlements::Need(const job::BuildFlags& flags) {
  auto read = [&](const std::string& path) {
    if (!path.empty() && !IsRemoteUrl(path) && !MayRead(path)) needed_read_.insert(path);
  };
  auto write = [&](const std::string& path) {
    if (!path.empty() && path != "-" && !MayWrite(path)) needed_write_.insert(path);
  };
  for (const std::string& key : flags.allow) {
    bool any_device = key.starts_with("device") && keys_.contains("device");
    if (!keys_.contains(key) && !any_device) needed_keys_.insert(key);
  }
  read(flags.context);
  // A Dockerfile inside of a remote context is no file of this machine.
  if (!flags.dockerfile_text && (!IsRemoteUrl(flags.context) || flags.file.starts_with('/'))) read(flags.file);
  for (const auto& [name, value] : flags.build_contexts) {
    if (value.find("://") == value.npos) read(value.starts_with("local:") ? value.substr(6) : value);
    if (value.starts_with("oci-layout://")) read(value.substr(13).substr(0, value.substr(13).find_first_of("@:")));
  }
  for (const job::SecretFlag& secret : flags.secrets) read(secret.path);
  for (const job::SshFlag& ssh : flags.ssh) {
    for (const std::string& path : ssh.paths) read(path);
    if (ssh.paths.empty() && !keys_.contains("ssh")) needed_keys_.insert("ssh");
  }
  for (const tier::Spec& spec : flags.cache_from) {
    if (spec.kind == tier::Kind::kLocal) read(spec.place);
  }
  for (const tier::Spec& spec : flags.cache_to) {
    if (spec.kind == tier::Kind::kLocal) write(spec.place);
  }
  for (const exporter::Output& output : flags.outputs) {
    write(output.dest);
    if (output.delete_extra && !keys_.contains("buildx.local.delete")) needed_keys_.insert("buildx.local.delete");
  }
}

Entitlements::Missing Entitlements::FindMissing(bool check_files) const {
  Missing missing;
  auto add = [&](std::string said, std::string flag) {
    missing.said.push_back(" - " + std::move(said));
    missing.flags.push_back("--allow=" + std::move(flag));
  };
  for (const std::string& key : needed_keys_) {
    if (key == "ssh" && !check_files) continue;
    add(key == "network.host"          ? "Running build containers that can access host network"
        : key == "security.insecure"   ? "Running privileged containers that can make system changes"
        : key == "ssh"                 ? "Forwarding default SSH agent socket"
        : key == "buildx.local.delete" ? "Deleting stale files from local output destinations"
        : key.starts_with("device=")   ? "Access to device " + key.substr(7)
                                       : "Access to CDI devices",
        key);
  }
  if (!check_files) return missing;
  for (const std::string& path : needed_read_) {
    bool both = needed_write_.contains(path);
    add(fmt::format("{} access to path {}", both ? "Read and write" : "Read", Shown(path)),
        (both ? "fs=" : "fs.read=") + Shown(path));
  }
  for (const std::string& path : needed_write_) {
    if (!needed_read_.contains(path)) add("Write access to path " + Shown(path), "fs.write=" + Shown(path));
  }
  return missing;
}

}  // namespace varve::cli
