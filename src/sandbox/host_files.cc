#include "sandbox/host_files.h"

#include <algorithm>

#include "base/fd.h"
#include "base/strings.h"

namespace varve::sandbox {
namespace {

constexpr std::string_view kFallbackServers =
    "nameserver 8.8.8.8\n"
    "nameserver 8.8.4.4\n"
    "nameserver 2001:4860:4860::8888\n"
    "nameserver 2001:4860:4860::8844\n";

// The address of a nameserver line; empty for others.
std::string_view ServerOf(std::string_view line) {
  line = TrimSpace(line);
  constexpr std::string_view kKeyword = "nameserver";
  if (!line.starts_with(kKeyword)) return {};
  line.remove_prefix(kKeyword.size());
  if (line.empty() || (line[0] != ' ' && line[0] != '\t')) return {};
  line = TrimSpace(line);
  return line.substr(0, std::min(line.find_first_of(" \t#;"), line.size()));
}

bool IsLoopback(std::string_view address) {
  return address.starts_with("127.") || address == "::1" || address.starts_with("::1%");
}

}  // namespace

std::string HostsFile(std::string_view hostname, const std::vector<ExtraHost>& extra) {
  std::string text = fmt::format("127.0.0.1\tlocalhost {}\n", hostname);
  text += "::1\tlocalhost ip6-localhost ip6-loopback\n";
  for (const ExtraHost& host : extra) text += fmt::format("{}\t{}\n", host.address, host.name);
  return text;
}

std::string ResolvConf(std::string_view host_text, bool host_network) {
  std::string text;
  bool any_server = false;
  for (const std::string& line : Split(host_text, '\n')) {
    std::string_view server = ServerOf(line);
    if (!server.empty()) {
      if (IsLoopback(server) && !host_network) continue;
      any_server = true;
    }
    if (!TrimSpace(line).empty()) text += line + "\n";
  }
  if (!any_server) text += kFallbackServers;
  return text;
}

std::string HostResolvConf(const std::string& etc_path, const std::string& resolved_path) {
  auto text = ReadFile(etc_path, 1 << 20);
  if (!text) return {};
  bool only_resolved = false;
  for (const std::string& line : Split(*text, '\n')) {
    std::string_view server = ServerOf(line);
    if (server.empty()) continue;
    if (server != "127.0.0.53") return *text;
    only_resolved = true;
  }
  if (only_resolved) {
    if (auto better = ReadFile(resolved_path, 1 << 20)) return *better;
  }
  return *text;
}

}  // namespace varve::sandbox
